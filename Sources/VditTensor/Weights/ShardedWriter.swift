import VditFiles

/// Writes a component's tensors as one safetensors file, or as several and the index that says which is where.
///
/// Tensors are asked for as they are written: of no more than a shard's are there at a time.
public struct ShardedWriter {
    /// What a component's file is called without its ending.
    public static let name = "diffusion_pytorch_model"
    private var shards: [[String]] = [[]]

    /// - Parameters:
    ///   - tensors: in the order they are written.
    ///   - shardBytes: of tensors in a file, unless one is larger.
    public init(_ tensors: [(name: String, byteCount: Int)], shardBytes: Int) {
        var bytes = 0
        for (name, size) in tensors {
            if bytes + size > shardBytes, bytes > 0 {
                shards.append([])
                bytes = 0
            }
            shards[shards.count - 1].append(name)
            bytes += size
        }
    }

    /// - Throws: what `tensor` throws, `TensorError.file` when something cannot be written.
    public func write(to folder: String, tensor: (String) throws -> Tensor) throws {
        var entries: [String] = []
        for (number, names) in shards.enumerated() {
            let file = shards.count == 1
                ? "\(Self.name).safetensors"
                : "\(Self.name)-\(Self.digits(number + 1))-of-\(Self.digits(shards.count)).safetensors"
            var shard: [String: Tensor] = [:]
            for name in names {
                shard[name] = try tensor(name)
                entries.append("\(SafetensorsWriter.quoted(name)): \"\(file)\"")
            }
            try SafetensorsWriter.write(shard, to: "\(folder)/\(file)", existing: .refuse)
        }
        if shards.count == 1 { return }
        let index = "{\"weight_map\": {\n\(entries.joined(separator: ",\n"))\n}}\n"
        try AtomicFile.write(
            Array(index.utf8), to: "\(folder)/\(Self.name)\(WeightFiles.indexSuffix)", existing: .refuse)
    }

    private static func digits(_ number: Int) -> String {
        let digits = "\(number)"
        return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
    }
}
