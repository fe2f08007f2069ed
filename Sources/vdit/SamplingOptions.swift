import ArgumentParser
import VDiT

/// Size, steps and guidance: what all renders of a comparison share.
struct SamplingOptions: ParsableArguments {
    @Option(
        name: [.customShort("W"), .long], parsing: .unconditional,
        help: ArgumentHelp("Pixels. Default: the model's.", valueName: "pixels"))
    var width: Int?

    @Option(
        name: [.customShort("H"), .long], parsing: .unconditional,
        help: ArgumentHelp("Pixels. Default: the model's.", valueName: "pixels"))
    var height: Int?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Width and height at once.", valueName: "WxH"))
    var size: FrameSize?

    @Option(
        name: [.customLong("num-frames"), .customLong("frames")], parsing: .unconditional,
        help: ArgumentHelp("Frames of the video, 4k+1 for Wan. Default: the model's.", valueName: "n"))
    var numFrames: Int?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "What to do about a number of frames the model cannot make. Default: error.", valueName: "error|down|up"))
    var frameRounding: FrameRounding?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Frames per second, 16 or 30000/1001. Default: the model's.", valueName: "rate"))
    var fps: FrameRate?

    @Option(
        name: [.customLong("steps"), .customLong("num-inference-steps")], parsing: .unconditional,
        help: ArgumentHelp("Denoising steps. Default: the model's.", valueName: "n"))
    var steps: Int?

    @Option(
        name: [.customLong("guidance-scale"), .customLong("cfg-scale")], parsing: .unconditional,
        help: ArgumentHelp(
            "Classifier-free guidance; 1 is none and takes half the time. Default: the model's.", valueName: "x"))
    var guidanceScale: Double?

    @Option(
        name: [.customLong("guidance-scale-2")], parsing: .unconditional,
        help: ArgumentHelp("The same for the second transformer of a Wan2.2 model.", valueName: "x"))
    var guidanceScale2: Double?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Part of the loop with guidance. Default: 0:1.", valueName: "start:end"))
    var guidanceInterval: Interval?

    @Option(
        name: [.customLong("flow-shift"), .customLong("shift")], parsing: .unconditional,
        help: ArgumentHelp("More noise longer when above 1. Default: the model's scheduler.", valueName: "x"))
    var flowShift: Double?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "Default: the model's.",
            valueName: "name"))
    var scheduler: SchedulerConfiguration.Kind?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "Noise levels of unipc: as diffusers has them since 2026, or as the original Wan sampler.",
            valueName: "current|original"))
    var sigmaSpacing: UniPCMultistep.Spacing?

    /// - Parameter recorded: values of a record, for what no flag says.
    func request(_ machine: MachineOptions, recorded: [String: String] = [:]) throws -> RenderRequest {
        var settings = Settings(recorded: recorded)
        if size != nil && (width != nil || height != nil) {
            throw CommandError(description: "--size and --width or --height say the same; give one")
        }
        var request = RenderRequest()
        request.width = try settings.value("width", width ?? size?.width)
        request.height = try settings.value("height", height ?? size?.height)
        request.numFrames = try settings.value("num_frames", numFrames)
        request.frameRounding = try settings.value("frame_rounding", frameRounding) ?? .error
        request.frameRate = try settings.value("fps", fps)
        request.steps = try settings.value("steps", steps)
        request.guidanceScale = try settings.value("guidance_scale", guidanceScale)
        request.secondGuidanceScale = try settings.value("guidance_scale_2", guidanceScale2)
        request.guidanceInterval = try settings.value("guidance_interval", guidanceInterval)
            .map { ($0.start, $0.end) }
        request.flowShift = try settings.value("flow_shift", flowShift)
        request.scheduler = try settings.value("scheduler", scheduler)
        if let kind = request.scheduler, kind != .unipc { settings.recorded["sigma_spacing"] = nil }
        request.sigmaSpacing = try settings.value("sigma_spacing", sigmaSpacing)
        request.precision = try settings.value("precision", machine.precision)
        request.threads = try settings.value("threads", machine.threads)
        request.origins = settings.origins
        return request
    }
}
