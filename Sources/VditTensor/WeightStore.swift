import Glibc
import VditFiles

/// The weights of one component: a diffusers directory, single-file or sharded, or one safetensors file.
public final class WeightStore: Sendable {
    /// The directory or file.
    public let path: String
    private let shards: [SafetensorsReader]
    private let shardOf: [String: Int]

    /// What identifies a file of weights without reading all of it.
    public struct FileIdentity: Sendable, Equatable {
        public let name: String
        public let byteCount: Int
        /// The safetensors header's JSON text: names, types, shapes and places of all tensors.
        public let header: [UInt8]
    }

    /// Opens every file of the component and checks all headers.
    ///
    /// - Throws: `FileError`: a missing file, a malformed index or header, a shard outside the directory, a
    ///   tensor in two shards or not in the one the index names; `.refused` for pickles and other formats.
    public init(_ path: String) throws(FileError) {
        self.path = path
        let source = try WeightFiles.find(path)
        var shards: [SafetensorsReader] = []
        for file in source.files { shards.append(try SafetensorsReader(file)) }
        var shardOf: [String: Int] = [:]
        shardOf.reserveCapacity(shards.reduce(0) { $0 + $1.tensors.count })
        for (number, shard) in shards.enumerated() {
            for tensor in shard.tensors {
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
        self.shards = shards
        self.shardOf = shardOf
    }

    /// All names, sorted.
    public var names: [String] { shardOf.keys.sorted() }

    public func info(_ name: String) -> TensorInfo? { shardOf[name].flatMap { shards[$0].info(name) } }

    /// A tensor as a read-only view of its file; see `SafetensorsReader.tensor`.
    ///
    /// - Throws: `TensorError.absent`, or `.mismatch` for a type we cannot hold.
    public func tensor(_ name: String) throws(TensorError) -> Tensor {
        guard let shard = shardOf[name] else {
            throw .absent(path: path, tensor: name, present: Array(names.prefix(10)))
        }
        return try shards[shard].tensor(name)
    }

    /// Gives a tensor's memory back, once its values have been packed elsewhere. Its views stay valid.
    public func release(_ name: String) {
        if let shard = shardOf[name] { shards[shard].release(name) }
    }

    /// Has the system begin to read a tensor that is wanted soon.
    public func prefetch(_ name: String) {
        if let shard = shardOf[name] { shards[shard].prefetch(name) }
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

    /// Checks that the component holds exactly the expected tensors, all of a floating-point type.
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
            if info.dtype?.isFloatingPoint != true {
                problems.notFloatingPoint.append("\(name) \(info.dtypeName)")
            }
        }
        problems.unexpected = names.filter { !known.contains($0) && !isIgnored($0) }
        if !problems.isEmpty { throw .weights(path: path, problems) }
    }
}

/// How a component's weights differ from what its configuration describes.
public struct WeightProblems: Sendable, Equatable, CustomStringConvertible {
    public var missing: [String] = []
    public var unexpected: [String] = []
    /// Name, found and expected shape.
    public var misshapen: [String] = []
    /// Name and type.
    public var notFloatingPoint: [String] = []

    public init() {}

    public var isEmpty: Bool { self == WeightProblems() }

    /// One line; at most ten tensors of each kind are named.
    public var description: String {
        let kinds = [
            ("missing", missing), ("unexpected", unexpected), ("of the wrong shape", misshapen),
            ("not floating point", notFloatingPoint),
        ]
        return kinds.filter { !$0.1.isEmpty }.map { kind, tensors in
            let named = tensors.prefix(10).map(\.shortened).joined(separator: ", ")
            let rest = tensors.count > 10 ? " and \(tensors.count - 10) more" : ""
            return "\(tensors.count) \(tensors.count == 1 ? "tensor" : "tensors") \(kind): \(named)\(rest)"
        }.joined(separator: "; ")
    }
}

extension Tensor {
    /// Position of the first NaN or infinity in row-major order; nil when there is none, or the type is
    /// not floating point.
    public var firstNonFinite: Int? {
        switch dtype {
        case .f32: first(where: 0x7f80_0000 as UInt32)
        case .f64: first(where: 0x7ff0_0000_0000_0000 as UInt64)
        case .bf16: first(where: 0x7f80 as UInt16)
        case .f16: first(where: 0x7c00 as UInt16)
        default: nil
        }
    }

    /// The first element with all bits of `exponent` set.
    private func first<Bits: FixedWidthInteger>(where exponent: Bits) -> Int? {
        let values = UnsafeBufferPointer(start: pointer(as: Bits.self), count: count)
        let chunk = 4096
        for start in stride(from: 0, to: values.count, by: chunk) {
            let range = start..<min(start + chunk, values.count)
            // Without a branch inside, so that the compiler vectorises it.
            var found: Bits = 0
            for index in range { found |= values[index] & exponent == exponent ? 1 : 0 }
            if found != 0 { return range.first { values[$0] & exponent == exponent } }
        }
        return nil
    }
}

extension WeightStore: WeightSource {
    public func contains(_ name: String) -> Bool { shardOf[name] != nil }
}
