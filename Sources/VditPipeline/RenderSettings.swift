import VditAttention
import VditFiles
import VditMedia
import VditModels
import VditTensor

/// Where a setting's value came from, weakest last.
public enum Origin: String, Sendable, Codable {
    case commandLine = "command line"
    case environment
    case file
    case model
    case builtIn = "built-in"
}

/// What somebody asked for. What is nil is decided by the model, or built in.
public struct RenderRequest: Sendable {
    public var width: Int?
    public var height: Int?
    public var numFrames: Int?
    public var frameRounding = FrameRounding.error
    public var frameRate: FrameRate?
    public var steps: Int?
    public var guidanceScale: Double?
    /// Of the second transformer, where there are two.
    public var secondGuidanceScale: Double?
    /// Fractions of the loop between which guidance is on.
    public var guidanceInterval: (start: Double, end: Double)?
    public var flowShift: Double?
    public var scheduler: SchedulerConfiguration.Kind?
    public var sigmaSpacing: UniPCMultistep.Spacing?
    public var seed: Int?
    public var precision: Precision?
    public var threads: Int?
    /// A method of the catalogue, its options, and the density asked of it.
    public var sparse: String?
    public var sparseOptions: [String: String] = [:]
    public var density: Double?
    /// Where given values came from, by setting name; what is not listed came from the command line.
    public var origins: [String: Origin] = [:]

    public init() {}
}

/// Every value a run depends on, decided.
public struct RenderSettings: Sendable, Equatable {
    public var width: Int
    public var height: Int
    public var numFrames: Int
    public var frameRate: FrameRate
    public var steps: Int
    public var guidanceScale: Double
    public var secondGuidanceScale: Double?
    public var guidanceStart: Double
    public var guidanceEnd: Double
    public var scheduler: SchedulerConfiguration
    public var seed: Int
    public var precision: Precision
    public var threads: Int
    public var sparse: String
    public var sparseOptions: [String: String]
    public var density: Double?

    /// One line of the table of settings.
    public struct Row: Sendable, Equatable {
        /// snake_case, as in files and environment variables.
        public let name: String
        public let value: String
        public let origin: Origin
    }

    /// All settings with where each came from, in a fixed order.
    public private(set) var table: [Row] = []
    /// The number of frames that was asked for, where it was rounded.
    public private(set) var unroundedFrames: Int?

    /// Decides every setting and checks its range.
    ///
    /// - Throws: `PipelineError.invalid` (64) naming the setting, what was asked and what is possible.
    public init(_ request: RenderRequest, model: ModelSpecification, sampler: SchedulerConfiguration) throws {
        var table: [Row] = []
        func decide<Value>(
            _ name: String, _ asked: Value?, _ fallback: Value, from origin: Origin
        ) -> Value {
            let value = asked ?? fallback
            table.append(
                Row(
                    name: name, value: "\(value)",
                    origin: asked == nil ? origin : request.origins[name] ?? .commandLine))
            return value
        }
        let defaults = model.defaults
        width = decide("width", request.width, defaults.width, from: .model)
        height = decide("height", request.height, defaults.height, from: .model)
        let frames = request.numFrames.map {
            model.rounded(frames: $0, request.frameRounding)
        }
        numFrames = decide("num_frames", frames, defaults.numFrames, from: .model)
        if let asked = request.numFrames, asked != frames { unroundedFrames = asked }
        frameRate = decide(
            "fps", request.frameRate, try FrameRate(defaults.frameRate), from: .model)
        steps = decide("steps", request.steps, defaults.steps, from: .model)
        guidanceScale = decide(
            "guidance_scale", request.guidanceScale, defaults.guidanceScale, from: .model)
        if model.transformers.count > 1 {
            secondGuidanceScale = decide(
                "guidance_scale_2", request.secondGuidanceScale,
                request.guidanceScale ?? defaults.secondGuidanceScale ?? guidanceScale, from: .model)
        } else if request.secondGuidanceScale != nil {
            throw PipelineError.invalid(
                "guidance scale 2", found: "a value", expected: "none: this model has one transformer",
                kind: .usage)
        }
        let interval = request.guidanceInterval
        let shown = decide(
            "guidance_interval", interval.map { "\($0.start):\($0.end)" }, "0:1", from: .builtIn)
        _ = shown
        guidanceStart = interval?.start ?? 0
        guidanceEnd = interval?.end ?? 1
        let kind = decide("scheduler", request.scheduler, sampler.kind, from: .model)
        scheduler = sampler.switched(to: kind)
        scheduler.flowShift = decide(
            "flow_shift", request.flowShift, sampler.flowShift, from: .model)
        if kind == .unipc {
            scheduler.spacing = decide(
                "sigma_spacing", request.sigmaSpacing, sampler.spacing, from: .builtIn)
        } else if request.sigmaSpacing != nil {
            throw PipelineError.invalid(
                "sigma spacing", found: "a value", expected: "none: only unipc has a choice",
                kind: .usage)
        }
        if request.flowShift != nil, scheduler.dynamicShift != nil { scheduler.dynamicShift = nil }
        seed = decide("seed", request.seed, Int.random(in: 0...Int(UInt32.max)), from: .builtIn)
        precision = decide("precision", request.precision, .bf16, from: .builtIn)
        threads = decide("threads", request.threads, usableProcessors(), from: .builtIn)
        sparse = decide("sparse", request.sparse, "dense", from: .builtIn)
        sparseOptions = request.sparseOptions
        density = request.density
        if !sparseOptions.isEmpty {
            let text = sparseOptions.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
            _ = decide("sparse_options", text.joined(separator: ","), "", from: .builtIn)
        }
        if let density { _ = decide("density", density, 1, from: .builtIn) }
        self.table = table
        try check(model)
    }

    private func check(_ model: ModelSpecification) throws {
        try model.check(width: width, height: height, numFrames: numFrames)
        func range(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws(PipelineError) {
            guard range.contains(value) else {
                throw .invalid(
                    name, found: "\(value)", expected: "\(range.lowerBound) to \(range.upperBound)",
                    kind: .usage)
            }
        }
        try range("steps", steps, 1...scheduler.trainTimesteps)
        try range("seed", seed, 0...Int.max)
        try range("threads", threads, 1...1024)
        _ = try guidance()
        if let density, !(density > 0 && density <= 1) {
            throw PipelineError.invalid(
                "density", found: "\(density)", expected: MethodChoice.densityRange, kind: .usage)
        }
    }

    /// Of each transformer.
    func guidance() throws(PipelineError) -> [Guidance] {
        var all: [Guidance] = []
        for scale in [guidanceScale, secondGuidanceScale].compactMap({ $0 }) {
            all.append(try Guidance(scale: scale, start: guidanceStart, end: guidanceEnd))
        }
        return all
    }

    /// The sparse method, with the presets of the model it serves.
    func method(forModel model: ModelSpecification) throws(AttentionError) -> ConfiguredMethod {
        try MethodChoice(sparse, options: sparseOptions, density: density).configured(forModel: model.defaults.name)
    }

    /// What the latents depend on, by name: see `Checkpoint`. Threads and frame rate are not among it.
    var identity: [String: String] {
        var values = [
            "width": "\(width)", "height": "\(height)", "num_frames": "\(numFrames)",
            "steps": "\(steps)", "guidance_scale": "\(guidanceScale)",
            "guidance_interval": "\(guidanceStart):\(guidanceEnd)",
            "scheduler": "\(scheduler.kind.rawValue)", "flow_shift": "\(scheduler.flowShift)",
            "sigma_spacing": scheduler.spacing.rawValue,
            "solver": "\(scheduler.solverType.rawValue), order \(scheduler.solverOrder)",
            "seed": "\(seed)", "precision": precision.rawValue, "sparse": sparse,
            "sparse_options": sparseOptions.sorted { $0.key < $1.key }
                .map { "\($0.key)=\($0.value)" }.joined(separator: ","),
        ]
        values["guidance_scale_2"] = secondGuidanceScale.map { "\($0)" }
        values["density"] = density.map { "\($0)" }
        return values
    }
}
