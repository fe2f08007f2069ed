import VditAttention
import VditPipeline

/// What `vdit compare --model` is asked: which methods, at which densities, on which prompts and seeds.
public struct ComparisonJob: Sendable {
    public var model: ModelReference
    public var prompts: [PromptSource]
    /// As a render has them.
    public var negativePrompt: PromptSource?
    public var textEncoder: String?
    public var adapters: [AdapterChoice] = []
    /// Names of the catalogue. Dense is the reference and need not be named.
    public var methods: [String]
    /// Wanted share of token pairs of a sparse call; none leaves each method its own parameters.
    public var densities: [Double] = []
    public var seeds: [Int] = [1]
    public var options: [ComparisonOption] = []
    /// Files of patterns for every head, each of one of the methods, which then has no density of its own.
    public var sparseTables: [String] = []
    /// What all renders share; its seed, method, options and density give way to those above.
    public var request = RenderRequest()
    public var fallback = AttentionContext.Fallback.refuse
    /// Memory a render may take; nil is what the machine and its cgroups leave.
    public var memoryLimit: Int?
    /// The folder to leave the report in: new, empty, or one of an earlier comparison, whose finished
    /// renders are kept where they are the same.
    public var directory: String
    /// The command line, for the record.
    public var command: [String] = []

    public init(model: String, prompts: [PromptSource], methods: [String], directory: String) {
        self.model = ModelReference(model)
        self.prompts = prompts
        self.methods = methods
        self.directory = directory
    }
}

/// What happens while a comparison runs.
public enum ComparisonEvent: Sendable {
    /// Something a person should know but need not act on.
    case notice(String)
    /// Render `index` (from 1) of `count` begins.
    case begins(String, index: Int, of: Int)
    /// It was finished by an earlier run.
    case kept(String, index: Int, of: Int)
    /// Of the render that began last.
    case render(RenderEvent)
    case finished(ComparisonRow)
    /// Pictures, videos and the page are being made.
    case reporting
}

/// One render of a comparison and how far it is from the dense one of the same prompt and seed.
public struct ComparisonRow: Sendable, Codable, Equatable {
    /// What the render, the dense one it is compared with and the measures depend on.
    public var fingerprint: String
    /// What the prompt is called, by `PromptSource.name`, and its words where they are known.
    public var prompt: String
    public var promptText: String?
    public var seed: Int
    public var variant: ComparisonVariant
    /// The clip, lossless, relative to the report's folder.
    public var clip: String
    public var clipSha256: String
    public var latentsSha256: String
    /// Mean over the sparse calls, in token pairs; nil where there was none.
    public var density: Double?
    /// Token pairs computed over those of dense attention, dense steps and layers included.
    public var work: Double
    /// The same of all other work: less than 1 where a step cache leaves calls out.
    public var otherWork: Double
    public var sparseCalls: Int
    public var denseCalls: Int
    /// Of the denoising loop; loading, decoding and encoding are not counted. Nil where an interrupted run
    /// had computed every step already.
    @Nullable public var seconds: Double?
    /// Planning, learning and correcting; and the attention kernel.
    public var planningSeconds: Double
    public var attentionSeconds: Double
    public var peakRssBytes: Int
    /// How many steps came from a checkpoint: seconds are then scaled up from the others, and density and
    /// work are those of the others.
    public var resumedSteps: Int?
    /// Against the dense render; nil for that one itself.
    public var quality: Quality?
    /// Of the final latents.
    public var latents: LatentDistance?
    /// Of the latents after each step.
    public var steps: [LatentDistance]?
}
