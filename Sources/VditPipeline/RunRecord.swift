import Foundation
import VditFiles
import VditTensor

/// The version in records, metadata and checkpoints.
public let vditVersion = "0.1.0"

/// The version for people: with the commit, as far as it is known.
public let vditBuild = vditVersion + (buildCommit.map { " (\($0))" } ?? "")

/// Everything that made a video, written beside it as JSON: enough to make it again.
///
/// Keys are snake_case in the file. Numbers are finite; what does not apply is left out.
public struct RunRecord: Sendable, Codable, Equatable {
    public struct ModelFile: Sendable, Codable, Equatable {
        public var name: String
        public var bytes: Int
        public var headerSha256: String
    }

    public struct Model: Sendable, Codable, Equatable {
        public var family: String
        public var path: String
        public var files: [ModelFile]
        /// Element type of the stored weights.
        public var dtype: String
        /// Parts that took the place of the model's own.
        public var parts: ModelReference?
    }

    public struct Adapter: Sendable, Codable, Equatable {
        public var path: String
        public var sha256: String
        public var strength: Double
        /// The largest; nil for a file of differences only.
        public var rank: Int?
        /// Layers it changes.
        public var modules: Int
        public var target: AdapterChoice.Target
    }

    public struct Embedding: Sendable, Codable, Equatable {
        /// Nil for one that a text encoder made in the run.
        public var path: String?
        public var sha256: String
        public var shape: [Int]
        public var dtype: String
    }

    public struct TextEncoder: Sendable, Codable, Equatable {
        /// The folder of its configuration.
        public var path: String
        public var name: String
        /// Of its files' names, sizes and headers, and of the tokenizer.
        public var sha256: String
    }

    public struct Inputs: Sendable, Codable, Equatable {
        public var promptEmbedding: Embedding?
        /// Nil where guidance used an all-zero embedding, or none.
        public var negativePromptEmbedding: Embedding?
        /// The text that was given, or that in the embedding's metadata.
        public var prompt: String?
        /// The text that was given, or the empty one that stands for none.
        public var negativePrompt: String?
        /// What made embeddings of the texts.
        public var textEncoder: TextEncoder?
        /// Latents the run started from, or, for a decode, was made of.
        public var latents: String?
        public var latentsSha256: String?
        /// The picture the video begins with, that it ends with, and the video it was made from.
        public var image: String?
        public var lastImage: String?
        public var video: String?
    }

    public struct Output: Sendable, Codable, Equatable {
        public var path: String
        public var sha256: String?
        public var width: Int
        public var height: Int
        public var frames: Int
        public var codec: String?
        public var pixFmt: String?
        public var crf: Int?
        public var preset: String?
        /// A fraction such as 16/1.
        public var fps: String
        /// Settings of the file that were given and have no field of their own, by name.
        public var options: [String: String]?
    }

    /// Seconds, of all processes that worked on a run; what a process had done since it saved its state and was
    /// killed is not counted.
    public struct Timing: Sendable, Codable, Equatable {
        public var load = 0.0
        public var denoise = 0.0
        /// Frames are encoded while the next are decoded, so these two are more than what passed.
        public var decode = 0.0
        public var encode = 0.0
        /// Of every step, in order.
        public var perStep: [Double] = []

        public init() {}
    }

    public var vditVersion: String
    public var schema = 1
    /// UTC, ISO 8601.
    public var created: String
    public var command: [String]
    public var model: Model
    /// What was merged into the model, in this order.
    public var lora: [Adapter]?
    public var inputs: Inputs
    /// Nil for a decode of latents made elsewhere.
    public var sampling: Sampling?
    public var attention: Attention?
    /// Nil without a step cache.
    public var caching: Caching?
    public var output: Output
    public var timingS: Timing
    public var peakRssBytes: Int
    /// Of the latents that were decoded, f32.
    public var latentsSha256: String
    /// How many steps came from a checkpoint: the last process computed the others.
    public var resumedSteps: Int?
    public var warnings: [String]
    /// Everything the latents depend on, by the name of the setting; digests for files. Nil for a decode.
    public var identity: [String: String]?
    /// Of the batch job that made it: `RenderJob.fingerprint`.
    public var job: String?

    /// The record's place beside an output.
    public static func path(forOutput output: String) -> String { companionPath(output, ".json") }

    /// Writes the file, which appears complete or not at all; keys are sorted.
    ///
    /// - Throws: `FileError.inaccessible` when it cannot be written.
    public func write(to path: String, existing: ExistingFile) throws {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        try AtomicFile.write(Array(try encoder.encode(self)) + [10], to: path, existing: existing)
    }

    /// Reads a record.
    ///
    /// - Throws: `PipelineError.invalid` naming the field that is missing or of another type; a schema we do
    ///   not know is refused.
    public init(path: String) throws {
        let data = try readSmallFile(path)
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        self = try decodeJSON(RunRecord.self, from: data, path: path, decoder: decoder)
        guard schema == 1 else {
            throw PipelineError.invalid(
                "\(path): schema", found: "\(schema)", expected: "1", kind: .badData)
        }
    }

    init(
        command: [String], model: Model, lora: [Adapter]? = nil, inputs: Inputs, sampling: Sampling?, attention: Attention?,
        caching: Caching? = nil, output: Output, timing: Timing, latentsSha256: String, resumedSteps: Int?, warnings: [String]
    ) {
        vditVersion = VditPipeline.vditVersion
        created = ISO8601DateFormatter().string(from: Date())
        self.command = command
        self.model = model
        self.lora = lora
        self.inputs = inputs
        self.sampling = sampling
        self.attention = attention
        self.caching = caching
        self.output = output
        timingS = timing
        peakRssBytes = MemoryLimit.peakResidentBytes
        self.latentsSha256 = latentsSha256
        self.resumedSteps = resumedSteps
        self.warnings = warnings
    }
}
