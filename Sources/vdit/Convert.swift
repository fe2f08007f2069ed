import ArgumentParser
import VDiT

struct Convert: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write a model in another form: a diffusers folder, one file, or GGUF.",
        discussion: """
            Every form is read directly, so that nothing needs converting before a render.
            A folder in diffusers' layout of a single file, and a file of half the size:

              vdit convert wan2.1_t2v_1.3B_bf16.safetensors --vae wan_2.1_vae.safetensors \\
                  -o Wan2.1-T2V-1.3B
              vdit convert Wan2.1-T2V-14B-Diffusers -o wan2.1-t2v-14b-q8_0.gguf

            A transformer or a VAE alone becomes a folder with its configuration; a
            transformer also a file in its authors' names, safetensors or GGUF. Adapters
            are merged: the sum is rounded once, to the type it is written as. A text
            encoder stays where it is.
            """)

    @Argument(help: ArgumentHelp("A model, a transformer or a VAE, in any form that is read.", valueName: "path"))
    var model: String

    @OptionGroup(title: "Parts and adapters") var inputs: SettingFlags<PartSection>

    @Option(
        name: [.short, .long], parsing: .unconditional,
        help: ArgumentHelp("A new folder, or a transformer's file: .safetensors or .gguf.", valueName: "path"))
    var output: String

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "Default: 16 and 32 bits as they are, bf16 of fewer; q8_0 in GGUF.",
            valueName: StoredType.allCases.map(\.rawValue).joined(separator: "|")))
    var type: StoredType?

    @Flag(name: .long, help: "Replace a file that exists.")
    var overwrite = false

    @OptionGroup(title: "Machine") var machine: SettingFlags<ThreadSection>
    @OptionGroup(title: "Messages") var report: ReportOptions

    func run() throws {
        if model.isEmpty { throw FileError.emptyPath("model") }
        guard FilePath.exists(model) else { throw FileError.missing(path: model) }
        var given = Settings()
        given.add(inputs)
        var parts = RenderJob(model: model, promptEmbedding: "", destination: VideoDestination(path: ""))
        try given.apply(PartSection.rows, to: &parts)
        var job = ConvertJob(parts.model, output: output)
        (job.type, job.adapters) = (type, parts.adapters)
        job.existing = overwrite ? .replace : .refuse
        job.threads = try machine.decided().threads
        let result = try job.run(stop: Signals.stop) { done, count in
            if Console.isTerminal, !report.quiet { Console.redraw("converting: tensor \(done) of \(count)") }
        }
        if report.quiet { return }
        if Console.isTerminal { Console.redraw("") }
        Console.message("\(output): \(result.content), \(Bytes.text(result.bytes))")
    }
}

extension StoredType: ExpressibleByArgument {}
