import ArgumentParser
import VDiT

struct Info: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print what a video was made with.",
        discussion: """
            Example:

              vdit info ball.mp4

            Prints the sidecar ball.mp4.json where there is one, else what the file itself says.
            """)

    @Argument(help: ArgumentHelp("A video vdit made, or its .json.", valueName: "file"))
    var path: String

    func run() throws {
        if path.isEmpty { throw FileError.emptyPath("path") }
        let sidecar = path.hasSuffix(".json") ? path : RunRecord.path(forOutput: path)
        do {
            try Console.data(try Format.json(try RunRecord(path: sidecar)))
        } catch let error as FileError where error == .missing(path: sidecar) && sidecar != path {
            try Console.data(try VideoDescription(path).text)
        }
    }
}
