import VditAttention
import VditMedia
import VditTensor

/// One video to be made: what a `render` command says.
public struct RenderJob: Sendable {
    public var model: ModelReference
    public var prompt: PromptSource
    /// Nil is the one in the prompt's file; beside a prompt in words the empty text.
    public var negativePrompt: PromptSource?
    /// What encodes prompts in words, see `TextModelFolder`; nil is the model's own.
    public var textEncoder: String?
    /// What is merged into the model, in this order.
    public var adapters: [AdapterChoice] = []
    public var request = RenderRequest()
    public var destination: VideoDestination
    /// A picture that the video begins with.
    public var image: String?
    /// A picture that it ends with.
    public var lastImage: String?
    /// Noise to start from instead of the seed's.
    public var latents: String?
    /// Patterns of the sparse method for every head, see `HeadTableFile`.
    public var sparseTable: String?
    /// Tables of the model for step caches, over the published ones.
    public var cacheCalibration: String?
    /// Where the final latents stay. Without it they lie beside the output until the video is complete.
    public var saveLatents: String?
    /// A folder for every step's tensors.
    public var saveTrajectory: String?
    public var trajectoryContent = TrajectoryWriter.Content.everything
    /// A PNG of the current estimate every so many steps.
    public var preview: (every: Int, path: String)?
    /// When to write checkpoints: after so many steps, or after so many seconds (at the next step's end).
    public var checkpointEverySteps: Int?
    public var checkpointEverySeconds: Double = 60
    public var resume = Resume.ifFits
    /// Whether the record has a row for every layer of every step.
    public var detail = RecordDetail.summary
    public var fallback = AttentionContext.Fallback.refuse
    public var nonFinite = Generation.NonFinite.refuse
    /// Memory the run may take; nil is what the machine and its cgroups leave.
    public var memoryLimit: Int?
    /// What a batch knows its jobs by, for the record.
    public var fingerprint: String?
    /// The command line, for the record.
    public var command: [String] = []

    public enum RecordDetail: Sendable { case summary, everyLayer }

    public enum Resume: Sendable {
        /// From the start; a checkpoint that lies beside the output is kept under another name.
        case fresh
        /// From the checkpoint if it is of this run, which makes the same bytes; any other is kept under another name.
        case ifFits
        /// From the checkpoint if there is one, which must agree.
        case ifPossible
        /// From the checkpoint, which must exist and agree.
        case required
    }

    /// - Parameter model: a pipeline folder in diffusers' layout, or a file.
    public init(model: String, prompt: PromptSource, destination: VideoDestination) {
        self.model = ModelReference(model)
        self.prompt = prompt
        self.destination = destination
    }

    /// - Parameter promptEmbedding: `.safetensors` or `.npy`; see `PromptEmbedding`.
    public init(model: String, promptEmbedding: String, destination: VideoDestination) {
        self.init(model: model, prompt: .embedding(promptEmbedding), destination: destination)
    }

    /// How its texts are encoded.
    ///
    /// - Parameter pipeline: what the model is, where it has no index to tell.
    func reading(
        _ book: PromptBook, _ settings: RenderSettings, pipeline: String?, encodes: Bool
    ) -> PromptReading {
        var choice = TextEncoderChoice(model: model.path.isEmpty ? nil : model.path, folder: textEncoder)
        choice.pipeline = pipeline
        return PromptReading(
            book, choice, precision: settings.precision, threads: settings.threads, numa: settings.numa,
            encodes: encodes)
    }
}

/// What happens while a job runs. Seconds are wall-clock time.
public enum RenderEvent: Sendable {
    /// Something a person should know but need not act on.
    case notice(String)
    /// The run begins; this is what it will compute.
    case begun(Estimate)
    /// Layers of the text encoder that the prompts went through.
    case encoding(Int, of: Int)
    case loading(String)
    case loaded(seconds: Double)
    /// The run goes on after this many steps.
    case resumed(step: Int, steps: Int)
    /// Layers done of the step at work, of all its passes of the transformer.
    case layer(Int, of: Int, step: Int, steps: Int)
    /// Steps done, of how many, and how long the last took.
    case step(Int, of: Int, seconds: Double)
    case checkpoint(String)
    /// The job was asked to stop, and this step, of so many, will be finished first; about so many seconds are left.
    case finishing(step: Int, of: Int, seconds: Double)
    /// The job was asked to stop, and this step is given up, with about so much of it left.
    case givingUp(step: Int, of: Int, seconds: Double?)
    case preview(String)
    case latents(String)
    /// Frames decoded and handed to the encoder.
    case frames(Int, of: Int)
    case finished(RunRecord)
}
