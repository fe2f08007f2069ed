import ArgumentParser
import VDiT

struct Predict: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run one forward pass of a transformer on given tensors.",
        discussion: """
            For laying vdit beside another implementation:

              vdit predict --model samples/wan-mini --precision fp32 \\
                  --inputs in.safetensors -o out.safetensors

            Inputs: 'latents' [1, channels, frames, height, width], 'timestep' [1] or
            [1, tokens], 'prompt_embeds' [1, tokens, width], and where the model takes them
            'image_embeds' [1, tokens, width], 'prompt_attention_mask' [1, tokens],
            'pooled_prompt_embeds' [1, width], 'frame_rate' [1], 'guidance' [1], 1000 times
            the scale.
            Output: 'sample', F32 [1, channels, frames, height, width].
            """)

    @Option(
        name: [.short, .long], parsing: .unconditional,
        help: ArgumentHelp("A model's folder, or its transformer's folder or file.", valueName: "path"))
    var model: String

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("The tensors to run it on.", valueName: "file.safetensors"))
    var inputs: String

    @Option(
        name: [.short, .long], parsing: .unconditional,
        help: ArgumentHelp("Where the prediction goes.", valueName: "file.safetensors"))
    var output: String

    @Flag(name: .long, help: "Replace a file that exists.")
    var overwrite = false

    @Option(
        name: .long, parsing: .unconditional,
        help: "How blocks are kept; unless packed, each is there only while it works. Default: packed.")
    var weights = LayerKeeping.packed

    @OptionGroup(title: "Machine") var machine: MachineOptions
    @OptionGroup(title: "Messages") var report: ReportOptions

    func run() throws {
        let (precision, threads, numa) = try machine.decided()
        var job = PredictJob(model: model, inputs: inputs, output: output)
        job.existing = overwrite ? .replace : .refuse
        job.precision = precision
        job.weights = weights
        job.threads = threads
        job.numa = numa
        let result = try job.run()
        if report.quiet { return }
        for notice in result.notices { Console.note(notice) }
        Console.message(
            "\(StandardOutput.shown(output)): sample \(result.shape), loading \(Format.seconds(result.loadSeconds)), "
                + "prediction \(Format.seconds(result.predictSeconds))")
    }
}
