import ArgumentParser
import Foundation
import Glibc
import VDiT

@main
struct Vdit: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vdit",
        abstract: "Video diffusion transformers on machines without a GPU.",
        discussion: """
            Makes a video from a Wan2.1 checkpoint and a prompt embedding:

              vdit render --model samples/wan-mini \\
                  --prompt-embedding samples/prompts/01-red-ball-right.safetensors \\
                  -o ball.mp4

            Add --dry-run to see every setting, the memory and the work before anything is
            computed. 'vdit doctor' tells what this machine can do, 'vdit inspect PATH'
            what a file or a model is. Settings may also come from the environment:
            VDIT_NUM_FRAMES=33 is --num-frames 33.

            Exit codes: 0 done, 64 wrong usage, 65 bad data, 66 input missing, 69 not
            supported, 70 internal error, 71 not enough memory, 73 output cannot be
            created, 74 disk full or unreadable, 77 no permission, 78 the checkpoint is of
            another run, 130 and 143 stopped by Ctrl-C and SIGTERM.
            """,
        version: vditBuild,
        subcommands: [
            Render.self, Embed.self, Decode.self, Predict.self, Convert.self, Inspect.self, Info.self, Methods.self, Caches.self, Doctor.self,
            Bench.self, Calibrate.self, Compare.self, Attend.self, Mask.self, AttentionMapCommand.self, BatchCommand.self,
        ])

    static func main() {
        Signals.prepare()
        Stack.withEnough {
            do {
                try checkSubcommand()
                noteUnknownVariables()
                var command = try parseAsRoot(Self.arguments)
                try command.run()
            } catch {
                Glibc.exit(report(error))
            }
        }
    }

    /// What stands behind the command's name. Names of files that are no text are kept.
    static let arguments = (1..<max(1, Int(CommandLine.argc))).compactMap { index in
        CommandLine.unsafeArgv[index].map { String(path: $0) }
    }

    /// A variable that is none of ours would be ignored: more likely it is misspelt.
    private static func noteUnknownVariables() {
        if arguments.contains("-q") || arguments.contains("--quiet") { return }
        let known = SettingTable.all.filter(\.isVariable).map { Settings.variable($0.name) } + ["VDIT_ISA"]
        for name in ProcessInfo.processInfo.environment.keys.sorted()
        where name.hasPrefix("VDIT_") && !known.contains(name) {
            let nearest = nearestName(to: name, among: known).map { "; did you mean \($0)?" } ?? ""
            Console.note("\(name) is no variable of vdit\(nearest)")
        }
    }

    /// A word where a subcommand should be is often nearly one.
    private static func checkSubcommand() throws(CommandError) {
        var command: any ParsableCommand.Type = Vdit.self
        for word in arguments {
            let (subcommands, standard) = (command.configuration.subcommands, command.configuration.defaultSubcommand)
            if word.hasPrefix("-") || word == "help" || subcommands.isEmpty { return }
            if let next = subcommands.first(where: { $0._commandName == word }) {
                command = next
                continue
            }
            let names = subcommands.map { $0._commandName } + (command == Vdit.self ? ["help"] : [])
            // Else it is for the command that needs no name.
            if standard != nil, FilePath.exists(word) || nearestName(to: word, among: names) == nil { return }
            throw CommandError(
                description: "'\(word)' is no subcommand; expected \(expectedNames(names, insteadOf: word))")
        }
    }

    /// Prints an error as one line, or the help asked for.
    ///
    /// - Returns: the exit status.
    private static func report(_ error: any Error) -> Int32 {
        if case PipelineError.cancelled(_, _, let checkpoint) = error, let signal = Signals.received {
            let hint = checkpoint == nil ? "" : ", continue with --resume"
            Console.failure("\(error)\(hint)", status: 128 + signal)
            return 128 + signal
        }
        // Said already what there is to say.
        if let code = error as? ExitCode { return code.rawValue }
        if let failure = error as? any Failure {
            Console.failure(failure.description, status: failure.kind.rawValue)
            return failure.kind.rawValue
        }
        switch exitCode(for: error) {
        case .success:
            do { try Console.data(fullMessage(for: error)) } catch { return report(error) }
            return 0
        case .validationFailure:
            let command = arguments.first.flatMap { name in
                configuration.subcommands.first { $0._commandName == name }?._commandName
            }
            let help = (["vdit", command, "--help"].compactMap { $0 }).joined(separator: " ")
            // The parser lists a flag's values as a bulleted block.
            let lines = message(for: error).split(separator: "\n")
            let values = lines.filter { $0.hasPrefix("  - ") }.map { $0.dropFirst(4) }.joined(separator: ", ")
            let text = lines.filter { !$0.hasPrefix("  - ") }.joined(separator: " ")
            let whole = values.isEmpty ? text : "\(text) \(values)"
            Console.failure("\(whole) (see '\(help)')", status: FailureKind.usage.rawValue)
            return FailureKind.usage.rawValue
        default:
            Console.failure("unexpected error: \(error)", status: FailureKind.internalError.rawValue)
            return FailureKind.internalError.rawValue
        }
    }
}

/// What only the command line can get wrong.
struct CommandError: Failure {
    let description: String
    var kind = FailureKind.usage
}
