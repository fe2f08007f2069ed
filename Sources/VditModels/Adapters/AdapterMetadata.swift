import VditFiles

/// The scales peft keeps beside the factors: the file's metadata entry `lora_adapter_metadata`.
struct AdapterMetadata {
    private var alpha: Double?
    private var alphas: [String: Double] = [:]
    private var dividesByRoot = false
    private(set) var usesDoRA = false
    /// Patterns that are more than the end of a module's name.
    private(set) var unknownPatterns: [String] = []

    private static let entry = "lora_adapter_metadata"
    private static let component = "transformer."

    /// - Returns: nil where the file has no such entry.
    /// - Throws: `FileError.malformed` for an entry that is no JSON object, or values of another type.
    init?(_ metadata: [String: String], path: String) throws(FileError) {
        guard let text = metadata[Self.entry] else { return nil }
        var scanner = try JSONScanner(Array(text.utf8), path: path, part: Self.entry)
        try scanner.beginObject()
        while let key = try scanner.nextKey() {
            guard key.hasPrefix(Self.component) else {
                try scanner.skipValue()
                continue
            }
            switch key.dropFirst(Self.component.count) {
            case "lora_alpha": alpha = try scanner.number()
            case "use_rslora": dividesByRoot = try scanner.bool()
            case "use_dora": usesDoRA = try scanner.bool()
            case "alpha_pattern": alphas = try patterns(&scanner)
            case "rank_pattern": _ = try patterns(&scanner)
            default: try scanner.skipValue()
            }
        }
        try scanner.end()
    }

    private mutating func patterns(_ scanner: inout JSONScanner) throws(FileError) -> [String: Double] {
        if try scanner.null() { return [:] }
        var values: [String: Double] = [:]
        try scanner.beginObject()
        while let pattern = try scanner.nextKey() {
            let isPlain = pattern.allSatisfy { $0.isLetter || $0.isNumber || $0 == "." || $0 == "_" }
            if !isPlain { unknownPatterns.append(pattern) }
            values[pattern] = try scanner.number()
        }
        return values
    }

    /// What a module's product is multiplied by.
    ///
    /// - Parameters:
    ///   - module: as the file names it.
    ///   - rank: of the factors, whatever the entry says of it.
    func scale(of module: String, rank: Int) -> Double {
        // peft takes the first pattern that ends a name after a dot; the longest is the same where none overlap.
        let pattern = alphas.keys.filter { module == $0 || module.hasSuffix("." + $0) }.max { $0.count < $1.count }
        guard let alpha = pattern.flatMap({ alphas[$0] }) ?? alpha else { return 1 }
        return alpha / (dividesByRoot ? Double(rank).squareRoot() : Double(rank))
    }
}
