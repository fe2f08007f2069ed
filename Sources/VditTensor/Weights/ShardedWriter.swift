import VditFiles

/// Writes a component's tensors as one safetensors file, or as several and the index that says which is where.
///
/// Tensors are asked for as they are written, one at a time.
public struct ShardedWriter {
    /// What a component's file is called without its ending.
    public static let name = "diffusion_pytorch_model"
    private var shards: [[SafetensorsWriter.Entry]] = [[]]

    /// - Parameters:
    ///   - entries: in the order in which files are filled.
    ///   - shardBytes: of tensors in a file, unless one is larger.
    public init(_ entries: [SafetensorsWriter.Entry], shardBytes: Int) {
        var bytes = 0
        for entry in entries {
            if bytes + entry.byteCount > shardBytes, bytes > 0 {
                shards.append([])
                bytes = 0
            }
            shards[shards.count - 1].append(entry)
            bytes += entry.byteCount
        }
    }

    /// - Throws: what `tensor` throws, `FileError` when something cannot be written.
    public func write(to folder: String, tensor: (SafetensorsWriter.Entry) throws -> Tensor) throws {
        var places: [String] = []
        for (number, entries) in shards.enumerated() {
            let file = shards.count == 1
                ? "\(Self.name).safetensors"
                : "\(Self.name)-\(Self.digits(number + 1))-of-\(Self.digits(shards.count)).safetensors"
            places += entries.map { "\(SafetensorsWriter.quoted($0.name)): \"\(file)\"" }
            try SafetensorsWriter.write(entries, to: "\(folder)/\(file)", existing: .refuse, tensor: tensor)
        }
        if shards.count == 1 { return }
        let index = "{\"weight_map\": {\n\(places.joined(separator: ",\n"))\n}}\n"
        try AtomicFile.write(
            Array(index.utf8), to: "\(folder)/\(Self.name)\(WeightFiles.indexSuffix)", existing: .refuse)
    }

    private static func digits(_ number: Int) -> String {
        let digits = "\(number)"
        return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
    }
}
