import ArgumentParser
import Foundation
import VDiT

struct Embed: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Turn a prompt into the embedding file a render takes.",
        discussion: """
            'vdit render --prompt' needs no such file; one saves the encoding where a
            prompt is used more than once. With a checkpoint that brings its text encoder,
            and with the sample model, whose encoder 'scripts/setup --text-encoder'
            fetches:

              vdit embed --model Wan2.1-T2V-1.3B-Diffusers \\
                  --prompt 'a cat walks on the grass' -o cat.safetensors
              vdit embed --model samples/wan-mini \\
                  --prompt 'a red ball moves from left to right' -o ball.safetensors

            The negative prompt, the empty text where none is given, goes into the same
            file. How a prompt is cleaned, cut and filled up follows the model's pipeline.
            One encoder serves several checkpoints: --text-encoder takes another
            checkpoint's.
            """)

    @OptionGroup(title: "Text") var text: SettingFlags<TextSection>

    @Option(
        name: [.short, .long], parsing: .unconditional,
        help: ArgumentHelp("A checkpoint in diffusers' layout: its rules and its encoder.", valueName: "folder"))
    var model: String?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("A folder with tokenizer.json, spiece.model or vocab.txt.", valueName: "folder"))
    var tokenizer: String?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Whose rules hold, where no model tells: \(families).", valueName: "name"))
    var family: String?

    @Option(
        name: [.short, .long], parsing: .unconditional,
        help: ArgumentHelp("The file to make.", valueName: "file.safetensors"))
    var output: String?

    @Flag(name: .long, help: "Replace files that exist.")
    var overwrite = false

    @Flag(name: .long, help: "Print the prompt's ids as JSON instead; nothing is encoded.")
    var tokens = false

    @OptionGroup(title: "Machine") var machine: MachineOptions
    @OptionGroup(title: "Messages") var report: ReportOptions

    private static let families = PromptRules.all.map(\.family).joined(separator: ", ")

    func validate() throws {
        if let family, !PromptRules.all.contains(where: { $0.family == family }) {
            throw ValidationError("family: found '\(family)', expected \(Self.families)")
        }
        if !text.says(SettingTable.promptSubject) {
            throw ValidationError("Missing expected argument '--prompt <text>' or '--prompt-file <file>'")
        }
        if output == nil && !tokens { throw ValidationError("Missing expected argument '--output <file.safetensors>'") }
    }

    func run() throws {
        let (precision, threads, numa) = try machine.decided()
        var given = Settings()
        given.add(text)
        var inputs = RenderJob(model: "", prompt: .text(""), destination: VideoDestination(path: ""))
        try given.apply(TextSection.rows, to: &inputs)
        var job = EmbedJob(prompt: try inputs.prompt.words() ?? "")
        job.negativePrompt = try inputs.negativePrompt?.words() ?? ""
        job.choice = TextEncoderChoice(model: model, folder: inputs.textEncoder)
        (job.choice.tokenizer, job.choice.family) = (tokenizer, family)
        (job.precision, job.threads, job.numa) = (precision, threads, numa)
        guard !tokens, let output else { return try printTokens(job) }
        var files = inputs.reads()
        files.make(output, as: "embedding")
        try files.check()
        let start = ContinuousClock.now
        let result = try job.run(to: output, existing: overwrite ? .replace : .refuse) { done, layers in
            if Console.isTerminal, !report.quiet { Console.redraw("encoding: layer \(done) of \(layers)") }
        }
        if report.quiet { return }
        if Console.isTerminal { Console.redraw("") }
        for notice in result.notices { Console.note(notice) }
        let seconds = Format.seconds(start.secondsUntilNow)
        Console.message(
            "\(StandardOutput.shown(output)): \(result.prompt.ids.count) tokens of \(result.prompt.embedding.shape[0]), "
                + "\(result.negative.ids.count) of the negative prompt, in \(seconds)")
    }

    private struct Tokens: Encodable {
        let prompt, cleaned: String
        let ids: [Int32]
        let length: Int
        let lost: String?
    }

    private func printTokens(_ job: EmbedJob) throws {
        let encoder = try job.choice.open()
        let (cleaned, sequence) = try encoder.tokens(job.prompt)
        try Console.data(
            Format.json(
                Tokens(
                    prompt: job.prompt, cleaned: cleaned, ids: sequence.ids, length: encoder.rules.length,
                    lost: sequence.lost)))
    }
}
