import Glibc
import VditFiles

/// Which files of a directory hold a component's weights.
struct WeightFiles {
    /// The index's path, or the single file's.
    let index: String
    /// Paths, each once, in the order of their names.
    let files: [String]
    /// From tensor to path; empty for a single file, which is an index of itself.
    let weightMap: [String: String]

    static let indexSuffix = ".safetensors.index.json"
    private static let maxIndexByteCount = 100_000_000

    /// - Parameter path: a directory, an index or a weight file.
    static func find(_ path: String) throws(FileError) -> WeightFiles {
        var status = stat()
        if path.isEmpty || path.utf8.contains(0) { throw .missing(path: path) }
        if stat(path, &status) != 0 { throw .reading(path, errno) }
        if status.st_mode & S_IFMT != S_IFDIR {
            return path.hasSuffix(indexSuffix)
                ? try sharded(path) : WeightFiles(index: path, files: [path], weightMap: [:])
        }
        let names = try list(path)
        let path = path.hasSuffix("/") ? String(path.dropLast()) : path
        let standard = ShardedWriter.name
        let indices = names.filter { $0.hasSuffix(indexSuffix) }
        if let index = indices.first(where: { $0 == standard + indexSuffix }) ?? only(indices) {
            return try sharded("\(path)/\(index)")
        }
        let weights = names.filter { $0.hasSuffix(".safetensors") }
        if let file = weights.first(where: { $0 == standard + ".safetensors" }) ?? only(weights) {
            return WeightFiles(index: "\(path)/\(file)", files: ["\(path)/\(file)"], weightMap: [:])
        }
        let candidates = indices + weights
        if !candidates.isEmpty {
            throw .malformed(
                path: path, field: "weights", found: candidates.prefix(10).joined(separator: ", "),
                expected: "\(standard).safetensors, or one file or one index; name the one to use")
        }
        let others = names.filter { name in
            [".bin", ".pth", ".pt", ".ckpt", ".gguf"].contains { name.hasSuffix($0) }
        }
        if let other = others.first {
            throw .refused(
                path: path, found: "no .safetensors file, only \(other)",
                advice: other.hasSuffix(".gguf")
                    ? "name that file instead of its folder"
                    : "pickles can run code: load it in Python and write it with save_pretrained(safe_serialization=True)")
        }
        throw .missing(path: "\(path)/\(standard).safetensors")
    }

    private static func only(_ names: [String]) -> String? { names.count == 1 ? names[0] : nil }

    private static func sharded(_ index: String) throws(FileError) -> WeightFiles {
        let bytes = try InputFile.contents(of: index, limit: maxIndexByteCount)
        let directory = FilePath.split(index).directory
        var scanner = try JSONScanner(bytes, path: index, part: "index")
        var weightMap: [String: String]?
        var paths: [String: String] = [:]
        try scanner.beginObject()
        while let key = try scanner.nextKey() {
            guard key == "weight_map" else {
                try scanner.skipValue()
                continue
            }
            if weightMap != nil { throw SafetensorsHeader.duplicate("weight_map", index) }
            var map: [String: String] = [:]
            try scanner.beginObject()
            while let tensor = try scanner.nextKey() {
                let shard = try scanner.string()
                if paths[shard] == nil { paths[shard] = try resolve(shard, in: directory, index) }
                if map.updateValue(paths[shard] ?? "", forKey: tensor) != nil {
                    throw SafetensorsHeader.duplicate(
                        "weight_map.\(tensor.shortened)", index)
                }
            }
            weightMap = map
        }
        try scanner.end()
        guard let weightMap, !weightMap.isEmpty else {
            throw .malformed(
                path: index, field: "weight_map", found: weightMap == nil ? "none" : "no tensors",
                expected: "an object from tensor to file name")
        }
        return WeightFiles(index: index, files: Set(weightMap.values).sorted(), weightMap: weightMap)
    }

    /// A shard's path. An index comes with the model: it may only name files of its own directory.
    private static func resolve(
        _ shard: String, in directory: String, _ index: String
    ) throws(FileError) -> String {
        let parts = shard.split(separator: "/", omittingEmptySubsequences: false)
        if shard.utf8.contains(0) || shard.utf8.count > 4096
            || parts.contains(where: { ["", ".", ".."].contains($0) })
        {
            throw .malformed(
                path: index, field: "weight_map", found: "file \(shard.shortened)",
                expected: "a file name inside the index's directory")
        }
        let path = "\(directory)/\(shard)"
        guard let real = realpath(path) else { throw .reading(path, errno) }
        guard let home = realpath(directory) else { throw .reading(directory, errno) }
        var allowed = [home]
        // The Hugging Face cache: snapshots/<revision>/… are links to blobs/<hash> of the same repository.
        let folders = home.split(separator: "/")
        if let snapshots = folders.lastIndex(of: "snapshots") {
            allowed.append("/" + folders[..<snapshots].joined(separator: "/") + "/blobs")
        }
        if !allowed.contains(where: { real.hasPrefix($0 == "/" ? "/" : $0 + "/") }) {
            throw .malformed(
                path: path, field: "symbolic link", found: "target \(real)",
                expected: "one inside the model's directory")
        }
        return path
    }

    private static func list(_ path: String) throws(FileError) -> [String] {
        guard let names = FilePath.names(in: path) else { throw .reading(path, errno) }
        // Hidden ones are other programs' leftovers: macOS's ._ files, our own .part files.
        return names.filter { !$0.hasPrefix(".") }.sorted()
    }
}
