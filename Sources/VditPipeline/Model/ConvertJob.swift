import VditFiles
import VditModels
import VditTensor

/// Writes a model in another form: what a `convert` command says.
///
/// A whole model becomes a pipeline folder in diffusers' layout, a component a folder with its configuration; a
/// transformer also one file in its authors' names, safetensors or GGUF. Adapters are merged on the way, and values
/// rounded once, to the type they are written as.
public struct ConvertJob: Sendable {
    /// What is converted, in any form that is read.
    public var model: ModelReference
    /// A new folder, or a file named .safetensors or .gguf.
    public var output: String
    /// Of the weights; nil keeps 16 and 32 bits as they are, makes bf16 of fewer, and Q8_0 of what goes to GGUF.
    public var type: StoredType?
    public var adapters: [AdapterChoice] = []
    public var existing = ExistingFile.refuse
    public var threads = 1
    /// Of weights in a shard.
    public var shardBytes = 2 << 30

    public init(_ model: ModelReference, output: String) { (self.model, self.output) = (model, output) }

    /// What was made.
    public struct Result: Sendable {
        public let content: String
        public let bytes: Int
    }

    /// - Parameter progress: called after each tensor with the number done and how many there are.
    /// - Throws: an error that conforms to `Failure`; `PipelineError.cancelled` when `stop` was raised. Nothing
    ///   half-written remains under a final name.
    public func run(
        stop: StopFlag = StopFlag(), progress report: (_ done: Int, _ count: Int) -> Void = { _, _ in }
    ) throws -> Result {
        var files = FileRoles(makes: ["converted model": output])
        files.read(model)
        for adapter in adapters { files.read(adapter.path, as: "adapter") }
        try files.check()
        let compute = try ComputeContext(threads: threads, precision: .fp32)
        let isGGUF = output.lowercased().hasSuffix(".gguf")
        let isFile = isGGUF || output.lowercased().hasSuffix(".safetensors")
        if !isGGUF, let type, type.dtype == nil {
            throw PipelineError.invalid(
                "type", found: "\(type.rawValue) for \(isFile ? "safetensors" : "a folder")",
                expected: "f32, f16 or bf16; \(type.rawValue) goes to a file named .gguf",
                kind: .usage)
        }
        if isFile { try AtomicFile.check(output, existing: existing) }
        let source = try Source.open(model, adapters, compute, transformerOnly: isFile)
        let count = source.parts.reduce(0) { $0 + $1.tensors.count }
        var done = 0
        func take(_ name: String, _ part: Source.Part) throws -> Tensor {
            done += 1
            report(done, count)
            try stop.throwIfStopping()
            return try part.weights.taken(name)
        }
        return try isFile ? writeFile(source, isGGUF: isGGUF, take) : writeFolder(source, take)
    }

    // MARK: Files

    private func writeFile(
        _ source: Source, isGGUF: Bool, _ take: (String, Source.Part) throws -> Tensor
    ) throws -> Result {
        guard let part = source.parts.first, let (architecture, names) = source.family.fileNames else {
            throw PipelineError.invalid(
                model.name, found: "a transformer of \(source.family.name)",
                expected: "one whose authors' names are known; others go to a folder", kind: .usage)
        }
        let ours = Dictionary(uniqueKeysWithValues: part.tensors.map { (names.theirs($0.name), $0.name) })
        func tensor(_ theirs: String) throws -> Tensor { try take(ours[theirs] ?? theirs, part) }
        if isGGUF {
            let most = type ?? .q8_0
            let entries = part.tensors.map { name, shape in
                GGUFWriter.Entry(
                    name: names.theirs(name), shape: shape, type: Self.typeInGGUF(name, shape, most))
            }
            try GGUFWriter.write(
                entries, architecture: architecture, most: most, to: output, existing: existing
            ) { try tensor($0.name) }
        } else {
            try SafetensorsWriter.write(entries(part, named: names.theirs), to: output, existing: existing) {
                try Self.stored(tensor($0.name), $0)
            }
        }
        return Result(content: "\(source.family.name) transformer", bytes: try Self.size(of: [output]))
    }

    /// Vectors and small tables stay f32; of matrices, those of the blocks get the type that was asked for and the
    /// others, which everything passes through, 16 bits.
    static func typeInGGUF(_ name: String, _ shape: [Int], _ most: StoredType) -> StoredType {
        if shape.count == 1 || shape.reduce(1, *) <= 1024 || !name.hasSuffix(".weight") { return .f32 }
        let words = name.split(separator: ".")
        let isInBlock = words.count > 2 && Int(words[1]) != nil
        if most.dtype != nil { return most }
        return isInBlock && most.suits(name, shape) ? most : .bf16
    }

    // MARK: Folders

    private func writeFolder(
        _ source: Source, _ take: (String, Source.Part) throws -> Tensor
    ) throws -> Result {
        let folder = output.count > 1 && output.hasSuffix("/") ? String(output.dropLast()) : output
        if FilePath.isTaken(folder) {
            throw FileError.inaccessible(path: folder, reason: "exists already", kind: .cannotCreate)
        }
        let temporary = AtomicFile.freshTemporaryPath(for: folder)
        var written = false
        defer { if !written { PartFile.remove(temporary) } }
        try FilePath.makeFolder(temporary)
        for part in source.parts {
            let place = part.folder.map { "\(temporary)/\($0)" } ?? temporary
            if part.folder != nil { try FilePath.makeFolder(place) }
            try AtomicFile.write(
                configurationJSON(part.configuration), to: "\(place)/config.json", existing: .refuse)
            try ShardedWriter(entries(part), shardBytes: shardBytes).write(to: place) {
                try Self.stored(take($0.name, part), $0)
            }
        }
        for (name, bytes) in source.files {
            let path = "\(temporary)/\(name)"
            try FilePath.makeFolder(FilePath.folder(of: path))
            try AtomicFile.write(bytes, to: path, existing: .refuse)
        }
        try AtomicFile.move(temporary, to: folder)
        written = true
        return Result(
            content: source.parts.map(\.title).joined(separator: ", "),
            bytes: try Self.size(of: FilePath.files(under: folder)))
    }

    /// A part's tensors in the types they are written as.
    private func entries(
        _ part: Source.Part, named name: (String) -> String = { $0 }
    ) -> [SafetensorsWriter.Entry] {
        part.tensors.map { tensor in
            let stored = part.weights.stored(tensor.name)?.dtype.flatMap { StoredType($0)?.dtype }
            return SafetensorsWriter.Entry(
                name: name(tensor.name), dtype: type?.dtype ?? stored ?? .bf16, shape: tensor.shape)
        }
    }

    private static func stored(_ tensor: Tensor, _ entry: SafetensorsWriter.Entry) throws -> Tensor {
        try (StoredType(entry.dtype) ?? .bf16).stored(tensor, name: entry.name)
    }

    private static func size(of files: [String]) throws -> Int {
        try files.reduce(0) { sum, path in try sum + InputFile(path).byteCount }
    }
}
