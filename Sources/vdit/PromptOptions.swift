import ArgumentParser
import VDiT

/// Prompts as text.
struct PromptOptions: ParsableArguments {
    @Option(name: .long, parsing: .unconditional, help: ArgumentHelp("What to show.", valueName: "text"))
    var prompt: String?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("A UTF-8 file with the prompt.", valueName: "file"))
    var promptFile: String?

    @Option(name: .long, parsing: .unconditional, help: ArgumentHelp("What not to show.", valueName: "text"))
    var negativePrompt: String?

    func validate() throws {
        if prompt != nil, promptFile != nil {
            throw ValidationError("--prompt and --prompt-file contradict each other; give one")
        }
    }

    /// - Throws: 64 when there is no prompt; a file's errors, 65 when it is not UTF-8.
    func required() throws -> String {
        if let promptFile { return try PromptFile.text(promptFile) }
        guard let prompt else { throw ValidationError("Missing expected argument '--prompt <text>'") }
        return prompt
    }
}
