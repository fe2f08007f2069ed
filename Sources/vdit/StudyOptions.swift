import ArgumentParser
import VDiT

/// One self-attention of a run.
struct SiteOptions: ParsableArguments {
    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Step of the loop, counted from 0.", valueName: "i"))
    var step: Int?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Transformer block, counted from 0.", valueName: "j"))
    var layer: Int?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Guidance branch. Default: conditional.", valueName: "conditional|unconditional"))
    var branch: AttentionSite.Branch?
}

/// A real run that is looked into.
struct ProbeOptions: ParsableArguments {
    @OptionGroup var inputs: SettingFlags<ProbeSection>

    @Option(name: .long, parsing: .unconditional, help: ArgumentHelp("Of the noise. Default: 0.", valueName: "n"))
    var seed: Int?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "What computes the run up to the step: dense attention, or the method as a render would. Default: dense.",
            valueName: "dense|sparse"))
    var trajectory: AttentionProbe.Trajectory?

    /// What a command that looks into a run reads, and what it makes.
    func files(_ model: String?, makes: KeyValuePairs<String, String?>) throws -> FileRoles {
        var files = FileRoles(makes: makes)
        files.read(try job(model ?? "", nil).reads())
        return files
    }

    /// The first flag given, for commands that only sometimes run a model.
    var given: String? {
        let own = [("--seed", seed != nil), ("--trajectory", trajectory != nil)].first(where: \.1)?.0
        return inputs.given ?? own
    }

    /// The render that is looked into.
    private func job(_ model: String, _ machine: MachineOptions?) throws -> RenderJob {
        var settings = Settings()
        settings.add(inputs)
        if let machine { settings.add(machine) }
        var job = RenderJob(model: model, prompt: .text(""), destination: VideoDestination(path: ""))
        try settings.apply(ProbeSection.rows + (machine == nil ? [] : MachineSection.rows), to: &job)
        return job
    }

    func probe(
        model: String, method: MethodOptions, choice: MethodChoice, site: SiteOptions, size: GridOptions, machine: MachineOptions
    ) throws -> AttentionProbe {
        guard inputs.says("prompt") else { throw ValidationError("--model needs --prompt or --prompt-embedding") }
        var job = try job(model, machine)
        job.fallback = try method.fallback()
        job.request.width = size.width
        job.request.height = size.height
        job.request.numFrames = size.frames
        job.request.seed = seed
        job.request.unseeded = .fixed(0)
        var probe = AttentionProbe(job, method: choice)
        probe.trajectory = trajectory ?? .dense
        probe.step = site.step ?? 0
        probe.layer = site.layer ?? 0
        probe.branch = site.branch ?? .conditional
        return probe
    }
}

/// Frames, height and width: of the token grid, or of the video where there is a model.
struct GridOptions: ParsableArguments {
    @Option(
        name: [.customLong("frames"), .customLong("num-frames")], parsing: .unconditional,
        help: ArgumentHelp("Latent frames; with --model, frames of the video.", valueName: "n"))
    var frames: Int?

    @Option(
        name: [.customShort("H"), .long], parsing: .unconditional,
        help: ArgumentHelp("Token rows of a frame; with --model, pixels.", valueName: "n"))
    var height: Int?

    @Option(
        name: [.customShort("W"), .long], parsing: .unconditional,
        help: ArgumentHelp("Token columns of a frame; with --model, pixels.", valueName: "n"))
    var width: Int?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Text tokens in front of the video, as in CogVideoX. Default: 0.", valueName: "n"))
    var textBefore: Int?

    @Option(
        name: [.customLong("text-tokens"), .customLong("text-after")], parsing: .unconditional,
        help: ArgumentHelp("Text tokens behind the video, as in HunyuanVideo. Default: 0.", valueName: "n"))
    var textAfter: Int?

    func layout() throws -> TokenLayout {
        guard let frames, let height, let width else {
            throw ValidationError("--frames, --height and --width say how the tokens lie; give all three")
        }
        return try tokenLayout(
            frames: frames, height: height, width: width, textBefore: textBefore ?? 0, textAfter: textAfter ?? 0)
    }
}

/// What of a plan a picture shows.
struct DrawingOptions: ParsableArguments {
    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Draw only this head, counted from 0.", valueName: "h"))
    var head: Int?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "Tokens of the picture in the method's order, or as the frames have them. Default: plan.",
            valueName: "plan|tokens"))
    var order = StudyOrder.plan

    /// What a picture is of.
    func title(_ method: MethodChoice, _ call: AttentionCall? = nil) -> String {
        let density = method.density.map { ["density \($0)"] } ?? []
        let options = method.options.isEmpty ? [] : [method.optionText]
        let place = call.map { ["step \($0.step), layer \($0.site.layer), \($0.site.branch.rawValue)"] } ?? []
        return ([method.name] + density + options + place).joined(separator: ", ")
    }
}

extension AttentionSite.Branch: ExpressibleByArgument {}
extension AttentionProbe.Trajectory: ExpressibleByArgument {}
extension StudyOrder: ExpressibleByArgument {}
extension AttentionMap.Scale: ExpressibleByArgument {}
