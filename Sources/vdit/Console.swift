import Foundation
import Glibc
import VDiT

/// Messages go to standard error, data to standard output.
enum Console {
    /// A line for a person. Names of files and words of prompts may be in it.
    static func message(_ line: String) {
        if isJSON { return event("message", ["text": line]) }
        _ = put(line.onOneLine + "\n", STDERR_FILENO)
    }

    /// Says what went wrong, the way messages are asked for.
    ///
    /// - Parameters:
    ///   - place: stands in front where the text does not begin with its own.
    ///   - status: the exit status, where the process ends.
    static func failure(_ text: String, at place: String = "vdit: ", status: Int32? = nil) {
        // Names and prompts may be of any length.
        let line = text.onOneLine
        let short = line.utf8.count <= 4096 ? line : "\(line.prefix(3000))… (\(line.count) characters)"
        if isJSON {
            event("error", ["text": short].merging(status.map { ["status": Int($0)] } ?? [:]) { $1 })
        } else {
            message(place + short)
        }
    }

    /// Says what a person should know but need not act on.
    static func note(_ text: String) {
        if isJSON { event("notice", ["text": text]) } else { message("note: \(text)") }
    }

    /// A line for a program.
    static func event(_ name: String, _ fields: [String: Any]) {
        let options: JSONSerialization.WritingOptions = [.sortedKeys, .withoutEscapingSlashes]
        let object = fields.merging(["event": name]) { $1 }
        guard let data = try? JSONSerialization.data(withJSONObject: object, options: options) else { return }
        _ = put(String(decoding: data, as: UTF8.self) + "\n", STDERR_FILENO)
    }

    /// Whether messages are to be JSON: also known where the arguments could not be read.
    static let isJSON: Bool = {
        let arguments = Vdit.arguments
        return arguments.contains("--log-format=json")
            || zip(arguments, arguments.dropFirst()).contains { $0 == "--log-format" && $1 == "json" }
    }()

    /// Overwrites the line a terminal's cursor is in.
    static func redraw(_ line: String) {
        _ = put("\r\(line.onOneLine.prefix(max(0, columns - 1)))\u{1b}[K", STDERR_FILENO)
    }

    /// - Throws: 74 when it could not be delivered: a full disk, a closed pipe.
    static func data(_ text: String) throws(CommandError) {
        let code = put(text + "\n", STDOUT_FILENO)
        if code != 0 {
            let reason = String(cString: strerror(code)).lowercased()
            throw CommandError(description: "standard output: \(reason)", kind: .ioError)
        }
    }

    /// - Returns: 0 or an `errno`.
    private static func put(_ text: String, _ descriptor: Int32) -> Int32 {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            if count > 0 {
                bytes = bytes.dropFirst(count)
            } else if errno != EINTR {
                return errno
            }
        }
        return 0
    }

    /// Whether lines of standard error can be redrawn.
    static let isTerminal: Bool = {
        let terminal = getenv("TERM").map { String(cString: $0) } ?? "dumb"
        return isatty(STDERR_FILENO) == 1 && terminal != "dumb"
    }()

    /// Width of the terminal.
    static var columns: Int {
        var size = winsize()
        guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }

    /// Rows of cells in columns, each as wide as its widest cell.
    static func table(_ rows: [[String]], indent: String = "") -> String {
        // Prompts and names come from files.
        let rows = rows.map { $0.map(\.onOneLine) }
        let count = rows.map(\.count).max() ?? 0
        let widths = (0..<count).map { column in
            rows.compactMap { $0.count > column + 1 ? $0[column].count : nil }.max() ?? 0
        }
        return rows.map { row in
            let cells = row.enumerated().map { column, cell in
                column == row.count - 1
                    ? cell : cell + String(repeating: " ", count: widths[column] - cell.count)
            }
            return indent + cells.joined(separator: "  ")
        }.joined(separator: "\n")
    }
}
