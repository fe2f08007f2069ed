import VditFiles
import VditModels
import VditTensor
import VditText

/// What a file of weights without a configuration is, as far as its tensors tell.
public struct ModelFile: Sendable {
    public struct Part: Sendable {
        /// "transformer of wan", "text encoder umt5-xxl".
        public let kind: String
        /// The shape in words.
        public let summary: String
    }

    /// At least one.
    public let parts: [Part]
    /// Names of published models whose transformer has this shape.
    public let published: [String]
    /// What a render with this file needs beside it, in words.
    public let lacks: [String]
    /// Of the whole file, by its own names.
    public let weights: WeightStore

    /// - Throws: what opening it as a transformer throws, where it is no part of a model either.
    public init(_ path: String) throws {
        weights = try WeightStore(path)
        var parts: [Part] = []
        var failure: (any Error)?
        do {
            let opened = try ModelCatalogue.openTransformer(path)
            parts.append(Part(kind: "transformer of \(opened.family.name)", summary: opened.specification.summary))
            published = try ModelCatalogue.published().filter {
                $0.specification.transformer.configuration == opened.specification.configuration
            }.map(\.name)
        } catch {
            (failure, published) = (error, [])
        }
        let isTransformer = failure == nil
        if try !isTransformer || ModelCatalogue.holdsDecoder(path), let opened = try? ModelCatalogue.openDecoder(path) {
            // A tiny one's file does not say which family's.
            let kind = opened.specification.hasEncoder ? "VAE of \(opened.family.name)" : "tiny VAE"
            parts.append(Part(kind: kind, summary: opened.specification.summary))
        }
        lacks = !isTransformer ? [] : (parts.count > 1 ? [] : ["a VAE (--vae)"])
            + ["a text encoder (--text-encoder) for prompts in words"]
        if parts.isEmpty, let encoder = try? TextModelFolder(path, tokenizer: "-").openEncoder().0 {
            parts.append(Part(kind: "text encoder \(encoder.name)", summary: "hidden states of \(encoder.width)"))
        }
        if parts.isEmpty, let failure { throw failure }
        self.parts = parts
    }
}
