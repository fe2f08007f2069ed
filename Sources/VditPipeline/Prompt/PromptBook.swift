import VditFiles
import VditMedia
import VditTensor
import VditText

/// Prompts given as text, and what text encoders made of them.
///
/// A run notes its prompts before it asks for an embedding; the first that is asked for encodes all that were noted, by
/// one pass over the encoder's weights, and no text is encoded twice. A batch has one book for all its jobs.
public final class PromptBook {
    private struct Chapter {
        let encoder: PromptEncoder
        let digest: String
        /// In the order they were noted.
        var texts: [String] = []
        /// Each as far as it is known: with its embedding once that was asked for.
        var prompts: [String: (prompt: EncodedPrompt, isEncoded: Bool)] = [:]
    }

    private var chapters: [Key: Chapter] = [:]
    private let onProgress: (_ done: Int, _ layers: Int) -> Void

    private struct Key: Hashable {
        let choice: TextEncoderChoice
        let precision: Precision
    }

    /// - Parameter onProgress: called after each layer of an encoder with the layers done and their number.
    public init(onProgress: @escaping (_ done: Int, _ layers: Int) -> Void = { _, _ in }) {
        self.onProgress = onProgress
    }

    /// Prompts that are encoded by one pass: more would hold up the first job for those of the last.
    private static let mostTogether = 64

    /// A text of the book.
    struct Noted {
        let prompt: EncodedPrompt
        let encoder: RunRecord.TextEncoder
        /// Of what the embedding follows from: the text and the encoder.
        let digest: String
    }

    /// Opens the encoder and reads the text's tokens; its embedding is zeros until it was asked for.
    ///
    /// - Throws: what `TextEncoderChoice.open` and `PromptEncoder.tokens` throw.
    func note(_ text: String, _ reading: PromptReading) throws -> Noted {
        let key = Key(choice: reading.choice, precision: reading.precision)
        var chapter: Chapter
        if let known = chapters[key] {
            chapter = known
        } else {
            let encoder = try blaming("text_encoder") { try reading.choice.open() }
            chapter = Chapter(encoder: encoder, digest: try encoder.digest())
        }
        let prompt = try chapter.prompts[text]?.prompt ?? chapter.encoder.unencoded(text)
        if chapter.prompts[text] == nil {
            chapter.texts.append(text)
            chapter.prompts[text] = (prompt, false)
        }
        chapters[key] = chapter
        let lines = "\(chapter.digest) \(reading.precision.rawValue)\n\(prompt.cleaned)"
        return Noted(
            prompt: prompt,
            encoder: RunRecord.TextEncoder(
                path: chapter.encoder.folder.encoder, name: chapter.encoder.encoder.name, sha256: chapter.digest),
            digest: Digest.sha256(Array(lines.utf8)))
    }

    /// What the encoder makes of a text that was noted.
    ///
    /// - Throws: what `PromptEncoder.encode` throws.
    func encode(_ text: String, _ reading: PromptReading) throws -> EncodedPrompt {
        let key = Key(choice: reading.choice, precision: reading.precision)
        guard let chapter = chapters[key], let place = chapter.texts.firstIndex(of: text) else {
            preconditionFailure("an embedding of a text that was not noted")
        }
        if let known = chapter.prompts[text], known.isEncoded { return known.prompt }
        // From this one on, as jobs come in the order of their texts; then those before it.
        let open = (chapter.texts[place...] + chapter.texts[..<place]).filter {
            chapter.prompts[$0]?.isEncoded == false
        }
        let compute = try ComputeContext(
            threads: reading.threads, numa: reading.numa, precision: reading.precision)
        let results = try chapter.encoder.encode(
            Array(open.prefix(Self.mostTogether)), compute: compute, progress: onProgress)
        for result in results { chapters[key]?.prompts[result.prompt] = (result, true) }
        return results[0]
    }
}

/// How a run's texts become embeddings.
public struct PromptReading {
    let book: PromptBook
    let choice: TextEncoderChoice
    let precision: Precision
    let threads: Int
    let numa: Bool
    /// False where only what is known beforehand is wanted: embeddings are zeros.
    let encodes: Bool

    public init(
        _ book: PromptBook = PromptBook(), _ choice: TextEncoderChoice = TextEncoderChoice(),
        precision: Precision = .bf16, threads: Int = 1, numa: Bool = false, encodes: Bool = true
    ) {
        (self.book, self.choice) = (book, choice)
        // Text encoders know no int8.
        (self.precision, self.threads, self.numa) = (precision.unquantised, threads, numa)
        self.encodes = encodes
    }
}
