import VditFiles
import VditTensor

/// A component that was opened and checked: what it is, and its weights by the names of its specification.
public struct OpenedPart<Specification> {
    public let family: ModelFamily
    public let specification: Specification
    public let weights: WeightStore
}

extension OpenedPart: Sendable where Specification: Sendable {}

extension ModelCatalogue {
    /// Opens a transformer: a folder with `config.json`, or a file whose names and shapes tell what it is.
    ///
    /// A `config.json` beside a file is believed where the file's tensors are those it describes.
    /// - Parameters:
    ///   - family: whose `config.json` it is; nil asks its `_class_name`.
    ///   - pipeline: the `_class_name` of the whole, where that is known.
    /// - Throws: `FileError`, `TensorError` with all tensors that do not fit, `ModelError` (69) for a file of something
    ///   else, by its name where that is known.
    public static func openTransformer(
        _ path: String, of family: ModelFamily? = nil, pipeline: String? = nil
    ) throws -> OpenedPart<any TransformerSpecification> {
        let kind = PartKind<any TransformerSpecification>(
            name: "a transformer", className: \.transformerClass, reading: { $0.reading?.transformer },
            configured: { try $0.transformer($1, pipeline) }, matched: { $0.matching($1) }, tensors: \.tensors,
            prefixes: transformerPrefixes)
        return try open(path, of: family, kind)
    }

    /// Opens a VAE, likewise; in a file that holds a whole model it is found under its prefix.
    ///
    /// A tiny autoencoder's file does not say which family's latents it decodes.
    /// - Parameter transformer: the family whose model it goes with, where that is known.
    public static func openDecoder(
        _ path: String, of family: ModelFamily? = nil, beside transformer: ModelFamily? = nil
    ) throws -> OpenedPart<any DecoderSpecification> {
        if let tiny = try tinyDecoder(path, of: transformer ?? family ?? wan) { return tiny }
        let kind = PartKind<any DecoderSpecification>(
            name: "a VAE", className: \.decoderClass, reading: { $0.reading?.decoder },
            configured: { try $0.decoder($1) },
            matched: { specification, _ in specification }, tensors: \.tensors,
            prefixes: { names, _ in
                decoderPrefixes.filter { prefix in names.contains { $0.hasPrefix(prefix) } } + [""]
            })
        return try open(path, of: family, kind)
    }

    private static func tinyDecoder(
        _ path: String, of family: ModelFamily
    ) throws -> OpenedPart<any DecoderSpecification>? {
        guard FilePath.exists(path), !FilePath.isFolder(path) else { return nil }
        let store = try WeightStore(path).without(["encoder."])
        guard TinyVAEConfig.names(store.shapes) else { return nil }
        guard TinyVAEConfig.families.contains(family.name) else {
            throw ModelError.unsupported(
                path, found: "a tiny VAE with a model of \(family.name)",
                expected: "a VAE of \(family.name); tiny ones decode \(TinyVAEConfig.families.joined(separator: " and "))")
        }
        let specification = try blaming(path) { () throws(ModelError) in try TinyVAEConfig(store.shapes) }
        try store.check(specification.tensors)
        return OpenedPart(family: family, specification: specification, weights: store)
    }

    /// Runs what reads shapes, and has what is wrong said of the file.
    private static func blaming<Result>(
        _ path: String, _ read: () throws(ModelError) -> Result
    ) throws(ModelError) -> Result {
        do { return try read() } catch {
            guard case .invalid(let what, let found, let expected, let kind) = error else { throw error }
            throw .invalid("\(path): \(what)", found: found, expected: expected, kind: kind)
        }
    }

    /// Whether a file holds a VAE too.
    public static func holdsDecoder(_ path: String) throws -> Bool {
        let names = try WeightStore(path).names
        return names.contains { name in decoderPrefixes.contains { name.hasPrefix($0) } }
    }

    /// What is asked of a component that is opened.
    private struct PartKind<Specification> {
        /// As messages have it.
        let name: String
        let className: (ModelFamily) -> String
        let reading: (ModelFamily) -> PartReading<Specification>?
        let configured: (ModelFamily, ConfigFile) throws -> Specification
        let matched: (Specification, WeightStore) -> Specification
        let tensors: (Specification) -> [(name: String, shape: [Int])]
        /// What may stand before its names in a file.
        let prefixes: (_ names: [String], _ path: String) throws(FileError) -> [String]
    }

    private static func open<Specification>(
        _ path: String, of given: ModelFamily?, _ kind: PartKind<Specification>
    ) throws -> OpenedPart<Specification> {
        if FilePath.exists(path), !FilePath.isFolder(path) { return try recognise(path, kind) }
        let file = try ConfigFile(path: "\(path)/config.json")
        let family = try given ?? family(file) { [kind.className($0)] }
        let store = try WeightStore(path)
        let specification = kind.matched(try kind.configured(family, file), store)
        try store.check(kind.tensors(specification))
        return OpenedPart(family: family, specification: specification, weights: store)
    }

    // MARK: Files without a configuration

    /// Programs' prefixes of a transformer's names, the longest first.
    private static let programPrefixes = [
        "model.diffusion_model.", "diffusion_model.", "transformer.", "model.", "net.",
    ]
    private static let decoderPrefixes = ["vae.", "first_stage_model."]
    private static let otherPrefixes = ["text_encoders.", "cond_stage_model.", "conditioner."]

    /// - Throws: `FileError.malformed` where some of a transformer's names have a prefix and others none.
    private static func transformerPrefixes(_ names: [String], _ path: String) throws(FileError) -> [String] {
        let own = names.filter { name in !(decoderPrefixes + otherPrefixes).contains { name.hasPrefix($0) } }
        guard let prefix = programPrefixes.first(where: { prefix in own.contains { $0.hasPrefix(prefix) } }) else {
            return [""]
        }
        guard let bare = own.first(where: { !$0.hasPrefix(prefix) }) else { return [prefix] }
        throw .malformed(
            path: path, field: "names of tensors", found: "\(prefix) before some and none before \(bare.shortened)",
            expected: "one prefix for all of a transformer")
    }

    /// Names that models have which this version does not know, and what those are.
    private static let strangers = [
        ("vace_blocks.", "a Wan VACE model"), ("motion_encoder.", "a Wan Animate model"),
        ("face_adapter.", "a Wan Animate model"), ("casual_audio_encoder.", "a Wan S2V model"),
        ("audio_proj.", "a Wan S2V model"), ("control_adapter.", "a Wan Fun control model"),
        ("ref_conv.", "a Wan Fun control model"), (".sla.", "a Wan model with SLA attention"),
        ("audio_", "an LTX-2 model"),
        ("individual_token_refiner", "a HunyuanVideo model in its authors' names"),
        ("double_blocks.0.img_attn", "a FLUX model"), ("blocks.0.attn.qkv_x", "a Mochi model in its authors' names"),
        ("joint_blocks.", "a Stable Diffusion 3 model"), ("input_blocks.", "a Stable Diffusion model"),
        ("lora_", "an adapter (LoRA), which --lora takes"),
    ]

    private static func recognise<Specification>(
        _ path: String, _ kind: PartKind<Specification>
    ) throws -> OpenedPart<Specification> {
        let store = try WeightStore(path)
        for prefix in try kind.prefixes(store.names, path) {
            let others = (decoderPrefixes + otherPrefixes).filter { $0 != prefix }
            let store = store.without(others)
            let shapes = store.shapes.under(prefix)
            if let (_, name) = strangers.first(where: { shapes.name(with: $0.0) != nil }) {
                throw ModelError.unsupported(path, found: name, expected: known(kind.name))
            }
            for family in families {
                guard let reading = kind.reading(family), let table = reading.names(shapes) else { continue }
                let part = try store.part(prefix, named: table)
                if let opened = configured(part, beside: path, family, kind) { return opened }
                let read = try blaming(path) { () throws(ModelError) in try reading.specification(part.shapes) }
                var specification = kind.matched(read, part)
                let shaped = part.shaped(kind.tensors(specification))
                specification = kind.matched(specification, shaped)
                try shaped.check(kind.tensors(specification))
                return OpenedPart(family: family, specification: specification, weights: shaped)
            }
        }
        let some = store.names.prefix(3).map(\.shortened).joined(separator: ", ")
        let found = other(store) ?? "a file of \(store.names.count) tensors such as \(some)"
        throw ModelError.unsupported(path, found: found, expected: known(kind.name))
    }

    /// The component a file holds where another was wanted.
    private static func other(_ store: WeightStore) -> String? {
        for prefix in programPrefixes + decoderPrefixes + [""] {
            let shapes = store.shapes.under(prefix)
            for family in families {
                if family.reading?.transformer.names(shapes) != nil { return "a transformer of \(family.name)" }
                if family.reading?.decoder.names(shapes) != nil { return "a VAE of \(family.name)" }
            }
        }
        return nil
    }

    private static func known(_ kind: String) -> String {
        "\(kind) of \(families.filter { $0.reading != nil }.map(\.name).joined(separator: " or "))"
    }

    /// What a `config.json` beside a file says, if the file's tensors are those.
    private static func configured<Specification>(
        _ part: WeightStore, beside path: String, _ family: ModelFamily, _ kind: PartKind<Specification>
    ) -> OpenedPart<Specification>? {
        let config = FilePath.joined(FilePath.folder(of: path), "config.json")
        guard FilePath.exists(config), let file = try? ConfigFile(path: config),
            (try? file.stringIfPresent("_class_name")) == kind.className(family),
            let read = try? kind.configured(family, file)
        else { return nil }
        let specification = kind.matched(read, part)
        let shaped = part.shaped(kind.tensors(specification))
        guard (try? shaped.check(kind.tensors(specification))) != nil else { return nil }
        return OpenedPart(family: family, specification: specification, weights: shaped)
    }
}
