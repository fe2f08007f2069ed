import Glibc
import VditFiles

/// The weights of one component: a diffusers directory, single-file or sharded, or one safetensors or GGUF file.
///
/// Weights of less than 16 bits come as f32; the scales some files have beside them are no tensors of the store.
public final class WeightStore: Sendable {
    /// The directory or file.
    public let path: String
    private let shards: [any TensorFile]
    /// By the name a model knows a tensor by.
    private let places: [String: Place]

    /// Where a tensor lies, and as what.
    private struct Place: Sendable {
        let shard: Int
        /// In the file.
        let name: String
        var shape: [Int]
        /// What its values are multiplied by, and the file that has it.
        let scaling: (WeightScales.Scaling, shard: Int)?
    }

    /// What identifies a file of weights without reading all of it.
    public struct FileIdentity: Sendable, Equatable {
        public let name: String
        public let byteCount: Int
        /// The header's bytes: names, types, shapes and places of all tensors.
        public let header: [UInt8]
    }

    /// Opens every file of the component and checks all headers.
    ///
    /// - Throws: `FileError`: a missing file, a malformed index or header, a shard outside the directory, a
    ///   tensor in two shards or not in the one the index names; `.refused` for pickles and other formats,
    ///   `.unsupported` for ways to quantise that are not known.
    public init(_ path: String) throws(FileError) {
        self.path = path
        let source = try WeightFiles.find(path)
        var shards: [any TensorFile] = []
        for file in source.files {
            shards.append(try GGUFReader.recognises(file) ? GGUFReader(file) : SafetensorsReader(file))
        }
        var shardOf: [String: Int] = [:]
        var infos: [String: TensorInfo] = [:]
        shardOf.reserveCapacity(shards.reduce(0) { $0 + $1.tensors.count })
        for (number, shard) in shards.enumerated() {
            for tensor in shard.tensors {
                infos[tensor.name] = tensor
                if let other = shardOf.updateValue(number, forKey: tensor.name) {
                    throw .malformed(
                        path: shard.path, field: "tensor \(tensor.name.shortened)",
                        found: "also in \(FilePath.name(of: shards[other].path))", expected: "it in one file")
                }
            }
        }
        for (tensor, file) in source.weightMap {
            if let number = shardOf[tensor], shards[number].path == file { continue }
            throw .malformed(
                path: source.index, field: "weight_map.\(tensor.shortened)",
                found: FilePath.name(of: file), expected: "a file that holds this tensor")
        }
        if shardOf.isEmpty {
            throw .malformed(path: path, field: "tensors", found: "none", expected: "at least one")
        }
        let scales = try WeightScales(in: infos, path: path) { (name) throws(TensorError) in
            try shards[shardOf[name] ?? 0].tensor(name)
        }
        var places: [String: Place] = [:]
        for (name, shard) in shardOf where !scales.names.contains(name) {
            places[name] = Place(
                shard: shard, name: name, shape: infos[name]?.shape ?? [],
                scaling: scales.scalings[name].map { ($0, shardOf[$0.scale] ?? shard) })
        }
        self.shards = shards
        self.places = places
    }

    private init(_ other: WeightStore, places: [String: Place]) {
        (path, shards, self.places) = (other.path, other.shards, places)
    }

    /// A part of the tensors under the names that a model knows them by.
    ///
    /// - Parameters:
    ///   - prefix: that its names have in the file.
    ///   - table: what its authors call them; what it ignores is left out.
    /// - Throws: `FileError.malformed` for one tensor under two names.
    public func part(_ prefix: String, named table: NameTable) throws(FileError) -> WeightStore {
        var named: [String: Place] = [:]
        for (name, place) in places.sorted(by: { $0.key < $1.key }) where name.hasPrefix(prefix) {
            let theirs = String(name.dropFirst(prefix.count))
            let ours = table.ours(theirs)
            if ours == theirs, table.isIgnored(theirs) { continue }
            if let other = named.updateValue(place, forKey: ours) {
                throw .malformed(
                    path: path, field: "tensor \(name.shortened)", found: "the same as \(other.name.shortened)",
                    expected: "it under one name")
            }
        }
        return WeightStore(self, places: named)
    }

    /// The same without tensors whose names begin in one of some ways.
    public func without(_ prefixes: [String]) -> WeightStore {
        WeightStore(self, places: places.filter { name, _ in !prefixes.contains { name.hasPrefix($0) } })
    }

    /// The same with tensors in the shapes a model wants, where a file has them without axes of 1 in front, or, as
    /// formats of few axes do, with its first two axes as one.
    public func shaped(_ expected: [(name: String, shape: [Int])]) -> WeightStore {
        var places = places
        for (name, shape) in expected {
            guard let own = places[name]?.shape, own != shape else { continue }
            let isPadded = own.drop(while: { $0 == 1 }) == shape.drop(while: { $0 == 1 })
            let isMerged = shape.count > 2 && own == [shape[0] * shape[1]] + shape.dropFirst(2)
            if isPadded || isMerged { places[name]?.shape = shape }
        }
        return WeightStore(self, places: places)
    }

    /// All names, sorted.
    public var names: [String] { places.keys.sorted() }

    public var shapes: TensorShapes { TensorShapes(places.mapValues(\.shape)) }

    public func info(_ name: String) -> TensorInfo? {
        guard let place = places[name], let info = shards[place.shard].info(place.name) else { return nil }
        return TensorInfo(name: name, dtypeName: info.dtypeName, shape: place.shape, byteRange: info.byteRange)
    }

    private func place(_ name: String) throws(TensorError) -> Place {
        guard let place = places[name] else {
            throw .absent(path: path, tensor: name, present: Array(names.prefix(10)))
        }
        return place
    }

    /// A tensor as a read-only view of its file, see `TensorFile.tensor`; as f32 where it is stored in less than 16
    /// bits.
    ///
    /// - Throws: `TensorError.absent`, `.mismatch` for a type we cannot hold, `FileError.malformed` for values that are
    ///   not finite.
    public func tensor(_ name: String) throws(TensorError) -> Tensor { try weight(name).tensor() }

    /// A tensor as it is stored: values, or blocks of less than 16 bits. The system begins to read it.
    ///
    /// - Throws: `TensorError.absent`, `.mismatch` for a type we cannot hold, for GGUF also `FileError.malformed` for
    ///   values that are not finite.
    public func weight(_ name: String) throws(TensorError) -> StoredWeight {
        prefetch(name)
        return try unread(name)
    }

    private func unread(_ name: String) throws(TensorError) -> StoredWeight {
        let place = try place(name)
        let shard = shards[place.shard]
        guard let format = shard.info(place.name)?.format, format != .i8 || place.scaling != nil else {
            let stored = try shard.tensor(place.name)
            return .values(stored.shape == place.shape ? stored : stored.reshaped(place.shape))
        }
        var scales: Tensor?
        if let (scaling, shard) = place.scaling { scales = try shards[shard].tensor(scaling.scale).converted(to: .f32) }
        return .blocks(
            EncodedTensor(
                format: format, shape: place.shape, bytes: try shard.bytes(place.name), scales: scales,
                rotation: place.scaling?.0.rotation, name: place.name, path: shard.path))
    }

    /// Rows of a matrix as f32; the rest of it is not touched.
    ///
    /// - Parameter out: `[indices.count, columns]` f32.
    /// - Throws: as `tensor` does.
    public func read(rows indices: [Int32], of name: String, into out: Tensor) throws(TensorError) {
        let (weight, scratch) = (try unread(name), Scratch())
        for (row, index) in indices.enumerated() {
            scratch.reset()
            try weight.read(Int(index)..<Int(index) + 1, into: out[row], scratch)
        }
    }

    /// A tensor's bytes as they lie in its file: what a fingerprint takes a few of.
    ///
    /// - Throws: `TensorError.absent`.
    public func bytes(_ name: String) throws(TensorError) -> Tensor {
        let place = try place(name)
        return try shards[place.shard].bytes(place.name)
    }

    /// Gives a tensor's memory back, once its values have been packed elsewhere. Its views stay valid.
    public func release(_ name: String) {
        if let place = places[name] { shards[place.shard].release(place.name) }
    }

    /// Has the system begin to read a tensor that is wanted soon.
    public func prefetch(_ name: String) {
        if let place = places[name] { shards[place.shard].prefetch(place.name) }
    }

    /// - Throws: `FileError.inaccessible` when a file changed since it was opened.
    public func verifyUnchanged() throws(FileError) {
        for shard in shards { try shard.verifyUnchanged() }
    }

    /// The files, in the order of their names: what a fingerprint of the model is made of.
    public var files: [FileIdentity] {
        shards.map {
            FileIdentity(name: FilePath.name(of: $0.path), byteCount: $0.byteCount, header: $0.header)
        }
    }

    /// Metadata of all files together.
    public var metadata: [String: String] {
        shards.reduce(into: [:]) { $0.merge($1.metadata) { first, _ in first } }
    }

    /// Checks that the component holds exactly the expected tensors, all of them weights.
    ///
    /// - Parameter isIgnored: names of tensors that may be there and are not used.
    /// - Throws: `TensorError.weights` with everything that is wrong.
    public func check(
        _ expected: [(name: String, shape: [Int])], ignoring isIgnored: (String) -> Bool = { _ in false }
    ) throws(TensorError) {
        var problems = WeightProblems()
        var known: Set<String> = []
        for (name, shape) in expected {
            known.insert(name)
            guard let info = info(name) else {
                problems.missing.append(name)
                continue
            }
            if info.shape != shape {
                problems.misshapen.append("\(name) \(info.shape) instead of \(shape)")
            }
            if !info.isWeight {
                problems.notFloatingPoint.append("\(name) \(info.dtypeName)")
            }
        }
        problems.unexpected = names.filter { !known.contains($0) && !isIgnored($0) }
        if !problems.isEmpty { throw .weights(path: path, problems) }
    }
}

extension WeightStore: WeightSource {
    public func contains(_ name: String) -> Bool { places[name] != nil }
}
