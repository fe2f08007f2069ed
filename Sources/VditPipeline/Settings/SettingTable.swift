import VditAttention
import VditMedia
import VditModels
import VditTensor

/// Every setting of a render: what it is called, what it means and how it is decided, in the order of tables.
///
/// From a row follow the command's flag and its help, the `VDIT_` variable, the key of pipeline files and its type
/// check, `pipelines/schema.json`, the dry run's table, the identity of checkpoints, the record and how it is read
/// back; the property is the key by which code reads the value. Table and rows are classes: a key path reaches a name
/// without a copy of what lies on the way, which a batch does a million times.
public final class SettingTable: Sendable {
    public static let rows = SettingTable()
    public static let all: [any SettingRow] =
        Mirror(reflecting: rows).children.compactMap { $0.value as? any SettingRow }
    public static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })
    /// Names of those that pipeline files have.
    public static let keys = all.filter(\.isKey).map(\.name)

    /// A row that is a key of pipeline files.
    public static func key(_ name: String) -> (any SettingRow)? { byName[name].flatMap { $0.isKey ? $0 : nil } }

    /// Of the settings that say what to show.
    public static let promptSubject = "prompt"

    /// Whether two names are of one setting, or of settings that say the same in different ways.
    public static func sayTheSame(_ a: String, _ b: String) -> Bool {
        a == b || byName[a]?.subject.map { $0 == byName[b]?.subject } == true
    }

    /// Those that name a file or a folder to read, and what that is in words; adapters are named in a way of their own.
    static let inputFiles = all.filter { $0.kind == .input }.map { (role: $0.name.replacing("_", with: " "), row: $0) }

    public static func rows(of group: SettingGroup) -> [any SettingRow] { all.filter { $0.group == group } }

    // MARK: Inputs

    let model = Setting<String>(
        "model", .inputs, "pipeline folder in diffusers' layout, or a file with a transformer", kind: .input,
        flag: SettingFlag(
            "path", "A folder with model_index.json, or a transformer's file: safetensors or GGUF.", short: "m"),
        isVariable: false, effect: .latents,
        at: .job(get: { $0.model.path.isEmpty ? nil : $0.model.path }, set: { $1.model.path = $0 }))
    let transformer = Setting<String?>.part("transformer", "a transformer in place of the model's", \.model.transformer)
    let transformer2 = Setting<String?>.part("transformer_2", "a second one, for low noise", \.model.secondTransformer)
    let decoder = Setting<String?>.part("vae", "a VAE in place of the model's, or a tiny one", \.model.decoder)
    let sampler = Setting<String?>.part("scheduler_config", "a scheduler in place of the model's", \.model.scheduler)
    let prompt = Setting<String?>.prompt(
        "prompt", "what to show, in words", SettingFlag("text", "What to show, in words."), \.text) { .text($0) }
    let promptFile = Setting<String?>.prompt(
        "prompt_file", "a UTF-8 file with the words", kind: .input,
        SettingFlag("file", "A UTF-8 file with the prompt."), \.textFile) { .textFile($0) }
    let promptEmbedding = Setting<String?>.prompt(
        "prompt_embedding", "what the text encoder made of the prompt", kind: .input,
        SettingFlag("file", "What to show, as a text encoder put it: .safetensors or .npy."), \.embedding
    ) { .embedding($0) }
    let negativePrompt = Setting<String?>.negativePrompt(
        "negative_prompt", "what not to show, in words",
        SettingFlag("text", "What not to show, in words. Default: the empty text beside a prompt in words."), \.text
    ) { .text($0) }
    let negativePromptEmbedding = Setting<String?>.negativePrompt(
        "negative_prompt_embedding", "the same as the text encoder put it", kind: .input,
        SettingFlag("file", "What not to show. Default: the one in the prompt's file, else zeros."), \.embedding
    ) { .embedding($0) }
    let textEncoder = Setting<String?>(
        "text_encoder", .inputs, "what encodes prompts in words; the model's own when not given", kind: .input,
        flag: SettingFlag(
            "path", "A text encoder's folder or file, its tokenizer beside it, or a checkpoint. Default: the model's."),
        effect: .latents, at: .at(\.textEncoder))

    let image = Setting<String?>.picture(
        "image", "picture that the video begins with, for models that take one",
        "A picture to begin with: PNG, JPEG or what else FFmpeg reads.", at: \.image)
    let lastImage = Setting<String?>.picture(
        "last_image", "picture that the video ends with, for models that take one",
        "A picture to end with, where the model takes one.", at: \.lastImage)
    public let video = Setting<String?>.video
    public let strength = Setting<Double?>.strength
    public let imageFit = Setting<ImageFit?>(
        "image_fit", .inputs, "how a picture of another shape is fitted",
        flag: SettingFlag("crop|stretch", "How a picture of another shape is fitted. Default: crop."),
        belongsTo: "image", rule: Rule<ImageFit?>.builtIn(nil).shown { $0 != nil })

    let lora = Setting<AdapterList?>.adapters(
        "lora", .all, "adapters that are merged into the model, with their strengths",
        "An adapter (LoRA) to merge into the model, times a strength (1); repeat for more.")
    let loraHighNoise = Setting<AdapterList?>.adapters(
        "lora_high_noise", .highNoise, "the same for the first of two transformers only",
        "The same for the first transformer of a Wan2.2 model only.")
    let loraLowNoise = Setting<AdapterList?>.adapters(
        "lora_low_noise", .lowNoise, "the same for the second of two transformers only",
        "The same for the second transformer of a Wan2.2 model only.")

    // MARK: Sampling

    public let width = Setting<Int>(
        "width", .sampling, "pixels", kind: .integer(1...16384),
        flag: SettingFlag("pixels", "Pixels. Default: the model's.", short: "W"),
        rule: .model { $0.model.defaults.width })
    public let height = Setting<Int>(
        "height", .sampling, "pixels", kind: .integer(1...16384),
        flag: SettingFlag("pixels", "Pixels. Default: the model's.", short: "H"),
        rule: .model { $0.model.defaults.height })
    let size = Setting<FrameSize>(
        "size", .sampling, "width x height in pixels, such as 832x480",
        flag: SettingFlag("WxH", "Width and height at once."), isVariable: false,
        at: .spread { size, origin, request in
            request.ask("width", size.width, from: origin)
            request.ask("height", size.height, from: origin)
        })
    public let numFrames = Setting<Int>(
        "num_frames", .sampling, "frames of the video, 4k+1 for Wan", kind: .integer(1...65536),
        flag: SettingFlag(
            "n", "Frames of the video, 4k+1 for Wan. Default: the model's.", names: ["num-frames", "frames"]),
        rule: Rule<Int>.model { $0.model.defaults.numFrames }
            .adjusted { $1.model.rounded(frames: $0, $1.request.frameRounding ?? .error) }
            .checked { try $1.model.check(width: $1.values.width, height: $1.values.height, numFrames: $0) })
    public let frameRounding = Setting<FrameRounding?>(
        "frame_rounding", .sampling, "what to do about a number of frames the model cannot make",
        flag: SettingFlag(
            "error|down|up", "What to do about a number of frames the model cannot make. Default: error."),
        isKey: false, effect: .none, at: .request)
    public let frameRate = Setting<FrameRate>(
        "fps", .sampling, "frames per second: 16, 23.976 or 30000/1001",
        flag: SettingFlag("rate", "Frames per second, 16 or 30000/1001. Default: the model's."),
        effect: .file, isRecorded: false, rule: .model { try FrameRate($0.model.defaults.frameRate) })
    // Not of the latents by itself: what it stands for is.
    public let fewStep: Setting<FewStep?> = Setting(
        "few_step", .sampling, "sampling of a distilled model, by name: scheduler, steps, no guidance",
        flag: SettingFlag(
            "name", "Sampling of a distilled model: scheduler, steps, no guidance. Default: what the model was made for."),
        effect: .none,
        rule: .fewStep)
    public let steps: Setting<Int> = Setting(
        "steps", .sampling, "steps of the sampler", kind: .integer(1...100_000),
        flag: SettingFlag("n", "Denoising steps. Default: the model's.", names: ["steps", "num-inference-steps"]),
        rule: Rule<Int>.model { $0.listedSteps ?? $0.model.defaults.steps }.checked { steps, decision in
            let most = decision.sampler.trainTimesteps
            guard (1...most).contains(steps) else {
                throw PipelineError.setting("steps", found: "\(steps)", expected: "1 to \(most)")
            }
        })
    public let guidanceScale: Setting<Double> = Setting(
        "guidance_scale", .sampling, "classifier-free guidance; 1 is off",
        flag: SettingFlag(
            "x", "Classifier-free guidance; 1 is none and takes half the time. Default: the model's.",
            names: ["guidance-scale", "cfg-scale"]),
        rule: .model { $0.values.fewStep == nil ? $0.model.defaults.guidanceScale : 1 })
    public let secondGuidanceScale: Setting<Double?> = Setting(
        "guidance_scale_2", .sampling, "of the second transformer, where there are two",
        flag: SettingFlag("x", "The same for the second transformer of a Wan2.2 model."),
        rule: .secondGuidance)
    public let guidanceInterval = Setting<GuidanceInterval>(
        "guidance_interval", .sampling, "where in the loop guidance is on",
        flag: SettingFlag("start:end", "Part of the loop with guidance. Default: 0:1."),
        rule: .builtIn(.whole, shown: "0:1"))
    public let guidanceRescale = Setting<Double?>(
        "guidance_rescale", .sampling, "share of the guided output that keeps the spread of the conditional one",
        flag: SettingFlag("x", "Share of the guided output that keeps the conditional one's spread. Default: 0."),
        rule: Rule<Double?>.builtIn(nil).shown { $0 != nil })
    public let guidanceSchedule = Setting<GuidanceSchedule?>.guidanceSchedule
    public let embeddedGuidance = Setting<Double?>.embeddedGuidance
    public let scheduler = Setting<SchedulerConfiguration.Kind>.sampler
    public let flowShift: Setting<Double> = Setting(
        "flow_shift", .sampling, "shift of the noise schedule",
        flag: SettingFlag(
            "x", "More noise longer when above 1. Default: the model's scheduler.", names: ["flow-shift", "shift"]),
        rule: .model { $0.values.fewStep?.flowShift ?? $0.sampler.flowShift })
    public let stepList = Setting<NumberList?>.stepList
    public let sigmas = Setting<NumberList?>.sigmas
    public let timesteps = Setting<NumberList?>.timesteps
    public let sigmaSpacing = Setting<UniPCMultistep.Spacing>.sigmaSpacing

    public let sizes = Setting<SizeSchedule?>.sizes
    public let sizeShifts = Setting<NumberList?>.sizeShifts
    public let decodeTimestep = Setting<Double?>.decoding(
        "decode_timestep", "time the VAE is told, 0 to 1, where it takes one (LTX-Video)",
        "Time the VAE is told, 0 to 1, where it takes one.") { $0.timestep }
    public let decodeNoiseScale = Setting<Double?>.decoding(
        "decode_noise_scale", "share of noise mixed into the latents before such a VAE",
        "Share of noise mixed into the latents before such a VAE.") { $0.noiseScale }

    // MARK: Noise and attention

    public let seed = Setting<Int>(
        "seed", .seed, "of the noise; 0 when not given, so that a batch can be repeated", kind: .integer(0...Int.max),
        flag: SettingFlag("n", "Noise like torch's CPU generator of this seed. Default: random."),
        rule: Rule(standard: { decision in
            let (seed, origin) = decision.request.unseeded.decided
            return (seed, origin, nil)
        }))
    public let precision = Setting<Precision>(
        "precision", .machine, "operands of matrix products",
        flag: SettingFlag(
            "bf16|fp32|int8", "bf16: bf16 weights and operands, fp32 sums. fp32: the reference. int8: most linear layers in "
                + "8-bit whole numbers (docs/quality.md). Default: bf16."),
        rule: .builtIn(.bf16))
    public let weights = Setting<LayerKeeping?>(
        "weights", .run, "how the transformer's blocks are kept from call to call",
        flag: SettingFlag(
            LayerKeeping.allCases.map(\.rawValue).joined(separator: "|"),
            "How blocks are kept; unless packed, they are decoded in every call (docs/files.md). Default: packed, or "
                + "as-stored where that has no room."),
        rule: Rule<LayerKeeping?>.builtIn(nil).shown { $0 != nil })
    public let threads = Setting<Int>(
        "threads", .machine, "worker threads; never changes the result", kind: .integer(1...1024),
        flag: SettingFlag("n", "Threads. Default: the cores this process may use.", short: "t"),
        effect: .none, rule: .builtIn(usableProcessors()))
    public let numa = Setting<Bool>(
        "numa", .machine, "whether threads and memory are laid out over several memory nodes; never changes the result",
        flag: SettingFlag(
            "", "Hold threads to memory nodes, evenly, and lay what they share over all; for several sockets "
                + "(docs/performance.md).",
            style: .present(means: true)),
        effect: .none, isRecorded: false, rule: Rule<Bool>.builtIn(false).shown { $0 })
    public let sparse = Setting<String>(
        "sparse", .attention, "sparse attention method",
        kind: .choice(MethodCatalogue.methods.map(\.name) + [AutomaticChoice.name]),
        flag: SettingFlag(
            "method", "Sparse attention; 'vdit methods' lists them, auto chooses by what a comparison measured."),
        isRecorded: false, rule: .builtIn(MethodChoice.dense.name))
    public let sparseOptions = Setting<[String: String]>(
        "sparse_options", .attention, "options of the method, by name",
        flag: SettingFlag(
            "name=value", "An option of the sparse method; repeat for more.", names: ["sparse-option"],
            style: .repeated),
        isRecorded: false, belongsTo: "sparse", at: .spread { try $2.addOptions($0, from: $1) },
        rule: Rule<[String: String]>.builtIn([:]).shown { !$0.isEmpty })
    public let density = Setting<Double?>(
        "density", .attention, "share of token pairs to keep, above 0, at most 1",
        flag: SettingFlag("x", "Part of the attention a sparse method keeps, above 0, at most 1."),
        isRecorded: false, belongsTo: "sparse",
        rule: Rule<Double?>.builtIn(nil).checked { density, _ in
            if let density, !(density > 0 && density <= 1) {
                throw PipelineError.setting("density", found: "\(density)", expected: MethodChoice.densityRange)
            }
        })
    let denseSteps = Setting<String>(
        "dense_steps", .attention, "first steps computed densely",
        flag: SettingFlag("n", "First steps computed densely, a number or a part such as 25%."), isKey: false,
        at: .spread { try $2.addOptions(["dense-steps": $0], from: $1) })
    let denseLayers = Setting<Int>(
        "dense_layers", .attention, "first transformer blocks computed densely",
        flag: SettingFlag("n", "First transformer blocks computed densely."), isKey: false,
        at: .spread { try $2.addOptions(["dense-layers": "\($0)"], from: $1) })
    let sparseTable = Setting<String?>.sparseTable
    public let sparseResults = Setting<String?>.sparseResults
    public let sparseQuality = Setting<Double?>.sparseQuality
    public let sparseSeconds = Setting<Double?>.sparseSeconds
    public let attentionPrecision = Setting<AttentionPrecision?>.ofScores
    let sparseFallback = Setting<AttentionContext.Fallback>(
        "sparse_fallback", .attention, "what to do where the method cannot run",
        flag: SettingFlag(
            "refuse|dense",
            "What happens where the method cannot serve a call: stop, or compute it densely. Default: refuse."),
        effect: .file, at: .at(\.fallback))

    // MARK: Step caching

    public let cache: Setting<String?> = Setting(
        "cache", .caching, "step cache", kind: .choice(CacheCatalogue.all.names + [CacheCatalogue.none]),
        flag: SettingFlag("name", "Step cache; 'vdit caches' lists them. Default: none."), isRecorded: false,
        rule: .stepCache)
    public let cacheOptions: Setting<[String: String]?> = Setting(
        "cache_options", .caching, "options of the step cache, by name",
        flag: SettingFlag(
            "name=value", "An option of the step cache; repeat for more.", names: ["cache-option"], style: .repeated),
        isRecorded: false, belongsTo: "cache",
        at: .spread { try $2.addOptions($0 ?? [:], to: "cache_options", from: $1) },
        rule: Rule<[String: String]?>.builtIn(nil).shown { $0 != nil })
    let cacheThreshold = Setting<Double>(
        "cache_threshold", .caching, "the error from which on a call is computed",
        flag: SettingFlag("x", "The error from which on a call is computed; 0 computes all."), isKey: false,
        at: .spread { try $2.addOptions(["threshold": "\($0)"], to: "cache_options", from: $1) })
    public let cacheBudget = Setting<Double?>(
        "cache_budget", .caching, "share of transformer calls to compute at most, above 0, at most 1",
        flag: SettingFlag("x", "Part of the transformer calls that is computed at most, above 0, at most 1."),
        isRecorded: false, belongsTo: "cache",
        rule: .cacheBudget)
    let cacheCalibration = Setting<String?>(
        "cache_calibration", .caching, "what 'vdit calibrate' wrote of the model", kind: .input,
        flag: SettingFlag("file.json", "What 'vdit calibrate' wrote of the model."), isVariable: false,
        effect: .latents, at: .at(\.cacheCalibration))

    // MARK: The run

    let memoryLimit = Setting<ByteCount?>(
        "memory_limit", .run, "memory the render may take",
        flag: SettingFlag("bytes", "Refuse a run that needs more, such as 20G. Default: what is free."),
        effect: .none,
        at: .job(get: { $0.memoryLimit.map(ByteCount.init) }, set: { $1.memoryLimit = $0?.bytes }))
    let latents = Setting<String?>(
        "latents", .run, "noise to start from instead of the seed's", kind: .input,
        flag: SettingFlag("file", "Start from this noise instead of a seed's."), isVariable: false, effect: .latents,
        at: .at(\.latents))
    let saveLatents = Setting<String?>(
        "save_latents", .run, "where the final latents stay", kind: .output,
        flag: SettingFlag("file.safetensors", "Keep the final latents, for 'vdit decode'."), isVariable: false,
        at: .at(\.saveLatents))
    let checkpointEvery = Setting<Int?>(
        "checkpoint_every", .run, "steps between checkpoints; once a minute when not given",
        kind: .integer(1...100_000),
        flag: SettingFlag("n", "Save the state every n steps. Default: about once a minute."), effect: .none,
        at: .at(\.checkpointEverySteps))
    let overwrite = Setting<Bool>(
        "overwrite", .run, "whether outputs of other runs may be replaced", effect: .none, at: .nowhere)

    // MARK: The file

    let codec = Setting<VideoCodec?>(
        "codec", .output, "of the container's choice when not given",
        flag: SettingFlag("name", "Default: h264; vp9 for .webm."), at: .at(\.destination.options.codec))
    let crf = Setting<Int?>(
        "crf", .output, "constant quality, smaller is better", kind: .integer(0...63),
        flag: SettingFlag("n", "Quality, lower is better and larger. Default: h264 18, hevc 20, av1 and vp9 24."),
        belongsTo: "codec", at: .at(\.destination.options.crf))
    let preset = Setting<String?>(
        "preset", .output, "encoder's speed", kind: .written("a name of the encoder's presets"),
        flag: SettingFlag("name", "Encoder speed: h264 and hevc 'medium', 'slow', …; av1 and vp9 a number."),
        belongsTo: "codec", at: .at(\.destination.options.preset))
    let pixelFormat = Setting<String?>(
        "pix_fmt", .output, "FFmpeg's name", kind: .written("FFmpeg's name of a pixel format"),
        flag: SettingFlag(
            "name", "FFmpeg's name of a pixel format. Default: yuv420p.", names: ["pixel-format", "pix-fmt"]),
        belongsTo: "codec", at: .at(\.destination.options.pixelFormat))
    let pngDepth = Setting<SampleDepth>(
        "png_depth", .output, "bits per sample of PNG files",
        flag: SettingFlag("8|16", "Bits per sample of PNG files. Default: 8."), isKey: false,
        at: .at(\.destination.options.pngDepth))
    let loop = Setting<Int?>(
        "loop", .output, "how often a .gif repeats: 0 for ever, -1 not at all", kind: .integer(-1...65535),
        flag: SettingFlag("n", "How often a .gif repeats; -1 is not at all. Default: 0, for ever."), isRecorded: true,
        at: .at(\.destination.options.loop))
    let contactSheet = Setting<String?>(
        "contact_sheet", .output, "PNG of evenly spaced frames", kind: .output,
        flag: SettingFlag("file.png", "Also write a PNG of evenly spaced frames."), isVariable: false,
        at: .at(\.destination.contactSheet))
    let metadata = Setting<Bool>(
        "metadata", .output, "whether settings are embedded in the video",
        flag: SettingFlag(
            "", "Embed no settings in the file.", names: ["no-metadata"], style: .present(means: false)),
        isVariable: false,
        at: .job(
            get: { $0.destination.metadata == .embed }, set: { $1.destination.metadata = $0 ? .embed : .omit }))
}
