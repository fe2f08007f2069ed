import ArgumentParser
import VDiT

struct Decode: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a video, or raw frames, from latents on disk.",
        discussion: """
            Example: the same video in another format, or after a failed encode:

              vdit decode --latents ball.latents.safetensors --model samples/wan-mini \\
                  -o ball.webm

            An output named .safetensors holds the decoder's own values: tensor 'frames',
            F32 [3, frames, height, width], in -1…1.
            """)

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Latents as 'vdit render --save-latents' writes them.", valueName: "file"))
    var latents: String

    @Option(
        name: [.short, .long], parsing: .unconditional,
        help: ArgumentHelp(
            "A model's folder, or its VAE's folder or file. Default: the one named in the latents file.",
            valueName: "path"))
    var model: String?

    @OptionGroup(title: "Output") var output: OutputOptions

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Frames per second. Default: the latents file's, else the model's.", valueName: "rate"))
    var fps: FrameRate?

    @OptionGroup(title: "Machine") var machine: MachineOptions

    @Flag(name: .long, help: "Print the sidecar on standard output.")
    var json = false

    @OptionGroup(title: "Messages") var report: ReportOptions

    func validate() throws { try checkStandardOutput(output.output, json: json) }

    func run() throws {
        let (precision, threads, numa) = try machine.decided()
        let path = try output.path()
        var job = DecodeJob(
            model: model, latents: latents, destination: try output.destination(path, threads: threads))
        job.frameRate = try fps ?? SettingFlags<FrameRateSection>().request().frameRate
        job.precision = precision
        job.threads = threads
        job.numa = numa
        job.command = commandLine
        let progress = Progress(report)
        if path.hasSuffix(".safetensors") {
            try job.writeFrames(stop: Signals.stop) { progress.handle($0) }
            return
        }
        let record = try job.run(stop: Signals.stop) { progress.handle($0) }
        if json { try Console.data(try Format.json(record)) }
    }
}
