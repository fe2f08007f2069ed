import VditFiles
import VditTensor

/// Where a text encoder and its tokenizer are.
public struct TextModelFolder: Sendable {
    public enum Kind: String, Sendable { case umt5, t5, bert }

    /// A folder with `config.json` and weights, or one file: safetensors or GGUF.
    public let encoder: String
    /// A folder with `spiece.model`, `tokenizer.json` or `vocab.txt`.
    public let tokenizer: String

    /// - Parameters:
    ///   - path: a checkpoint with `text_encoder/` and `tokenizer/`, a folder that holds both in one, a `text_encoder`
    ///     folder with `tokenizer/` beside it, or a file of weights.
    ///   - tokenizer: the tokenizer's folder, where it is somewhere else.
    /// - Throws: `FileError.missing` naming what is not there.
    public init(_ path: String, tokenizer: String? = nil) throws(FileError) {
        let path = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        guard Self.exists(path) else { throw .missing(path: path) }
        let isCheckpoint = Self.exists("\(path)/text_encoder")
        encoder = isCheckpoint ? "\(path)/text_encoder" : path
        if let tokenizer {
            self.tokenizer = tokenizer
        } else {
            let parent = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
            let places = isCheckpoint
                ? ["\(path)/tokenizer"]
                : [path, "\(path)/tokenizer", "\(parent)/tokenizer", "\(parent)/google/umt5-xxl"]
            guard let place = places.first(where: { Self.tokenizerFile($0) != nil }) else {
                throw .missing(path: "\(isCheckpoint ? places[0] : path)/\(Self.tokenizerFiles[0])")
            }
            self.tokenizer = place
        }
    }

    private static let tokenizerFiles = ["tokenizer.json", "spiece.model", "vocab.txt"]

    private static func tokenizerFile(_ folder: String) -> String? {
        tokenizerFiles.first { exists("\(folder)/\($0)") }
    }

    private static func exists(_ path: String) -> Bool { FilePath.exists(path) }

    /// - Throws: `FileError`, `TensorError`: a configuration or weights that are not an encoder's, or a kind this
    ///   version does not know.
    public func openEncoder() throws -> (any TextEncoder, Kind) {
        let config = "\(encoder)/config.json"
        if !FilePath.isFolder(encoder) { return try openFile() }
        let file = try ConfigFile(path: config)
        let type = try file.string("model_type", oneOf: ["umt5", "t5", "bert"])
        if type == "bert" {
            return (try BERTEncoder(config: BERTEncoderConfig(file), weights: WeightStore(weights)), .bert)
        }
        let sizes = try T5EncoderConfig(file)
        return (try T5Encoder(config: sizes, weights: WeightStore(weights)), sizes.kind)
    }

    /// An encoder in a file of its own; a configuration beside it is believed where the tensors are those it describes.
    private func openFile() throws -> (any TextEncoder, Kind) {
        let store = try WeightStore(encoder)
        for table in NameTable.t5 {
            let weights = try store.part("", named: table)
            guard let read = T5EncoderConfig(weights.shapes) else { continue }
            var encoder = try T5Encoder(config: read, weights: weights)
            var kind = read.kind
            let config = FilePath.joined(FilePath.folder(of: self.encoder), "config.json")
            if Self.exists(config), let stated = try? T5EncoderConfig(ConfigFile(path: config)),
                let fitting = try? T5Encoder(config: stated, weights: weights)
            {
                (encoder, kind) = (fitting, stated.kind)
            }
            return (encoder, kind)
        }
        throw FileError.unsupported(
            path: encoder, found: "a file of tensors such as \(store.names.prefix(3).map(\.shortened).joined(separator: ", "))",
            expected: "an encoder of T5 or UMT5")
    }

    private var weights: String { Self.weights(in: encoder) }

    /// The weights under transformers' name where they have it: a folder may hold other files too.
    static func weights(in folder: String) -> String {
        ["model.safetensors.index.json", "model.safetensors"].map { "\(folder)/\($0)" }.first(where: exists) ?? folder
    }

    /// - Throws: `FileError`: a tokenizer's file that is missing or not one.
    public func openTokenizer(_ kind: Kind) throws(FileError) -> any Tokenizer {
        if kind == .bert {
            let config = "\(tokenizer)/tokenizer_config.json"
            if Self.exists(config), try ConfigFile(path: config).boolIfPresent("do_lower_case") == false {
                throw .malformed(path: config, field: "do_lower_case", found: "false", expected: "true")
            }
            return try WordPieceTokenizer(vocabulary: "\(tokenizer)/vocab.txt")
        }
        let json = "\(tokenizer)/tokenizer.json"
        // It alone says what is looked for in the text, and how: the reference reads nothing else where it is there.
        if Self.exists(json) { return try UnigramTokenizer(json: json) }
        return try UnigramTokenizer(sentencePiece: "\(tokenizer)/spiece.model", sentinels: sentinels(kind))
    }

    /// Number of `<extra_id_…>` tokens: as the folder says, else as the released tokenizers have them.
    private func sentinels(_ kind: Kind) throws(FileError) -> Int {
        for name in ["tokenizer_config.json", "special_tokens_map.json"] where Self.exists("\(tokenizer)/\(name)") {
            let file = try ConfigFile(path: "\(tokenizer)/\(name)")
            if let count = try file.integerIfPresent("extra_ids", 0...1000) { return count }
            if file.keys.contains("additional_special_tokens"),
                let tokens = try file.stringsIfPresent("additional_special_tokens")
            {
                return min(1000, tokens.count { $0.hasPrefix("<extra_id_") })
            }
        }
        return kind == .umt5 ? 300 : 100
    }

    /// The tokenizer's file.
    public func tokenizerBytes() throws(FileError) -> [UInt8] {
        let name = Self.tokenizerFile(tokenizer) ?? Self.tokenizerFiles[0]
        return try InputFile.contents(of: "\(tokenizer)/\(name)", limit: UnigramTokenizer.maxFileBytes)
    }

    /// Names, sizes and headers of the encoder's files: what tells it from another.
    public func weightIdentity() throws -> [WeightStore.FileIdentity] { try WeightStore(weights).files }
}
