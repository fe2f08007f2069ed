import ArgumentParser
import VDiT

/// Prompts of a command that runs several.
struct PromptOptions: ParsableArguments {
    @Option(
        name: .long, parsing: .unconditionalSingleValue,
        help: ArgumentHelp("What to show, in words; repeat for more.", valueName: "text"))
    var prompt: [String] = []

    @Option(
        name: .long, parsing: .upToNextOption,
        help: ArgumentHelp("One or more prompts, as UTF-8 files.", valueName: "file"))
    var promptFile: [String] = []

    @Option(
        name: .long, parsing: .upToNextOption,
        help: ArgumentHelp("One or more prompts, as a text encoder put them.", valueName: "file"))
    var promptEmbedding: [String] = []

    var all: [PromptSource] {
        prompt.map { .text($0) } + promptFile.map { .textFile($0) } + promptEmbedding.map { .embedding($0) }
    }

    /// The first flag given.
    var given: String? {
        [
            ("--prompt", !prompt.isEmpty), ("--prompt-file", !promptFile.isEmpty),
            ("--prompt-embedding", !promptEmbedding.isEmpty),
        ].first(where: \.1)?.0
    }

    func note(in files: inout FileRoles) {
        for path in promptFile { files.read(path, as: "prompt file") }
        for path in promptEmbedding { files.read(path, as: "prompt embedding") }
    }
}
