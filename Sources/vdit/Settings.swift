import ArgumentParser
import Glibc
import VDiT

/// Values from flags, where no flag was given from `VDIT_` variables of the environment, else from a record.
struct Settings {
    /// Values as flags take them, by setting name.
    var recorded: [String: String] = [:]
    /// Where values that were given came from, by setting name.
    private(set) var origins: [String: Origin] = [:]

    /// - Parameters:
    ///   - name: snake_case, as in the sidecar.
    ///   - flag: what the command line said.
    /// - Throws: 64 for a variable, 65 for a recorded value that is none.
    mutating func value<Value: ExpressibleByArgument>(
        _ name: String, _ flag: Value?
    ) throws(CommandError) -> Value? {
        if let flag {
            origins[name] = .commandLine
            return flag
        }
        let variable = "VDIT_\(name.uppercased())"
        if let text = getenv(variable).map({ String(cString: $0) }), !text.isEmpty {
            guard let value = Value(argument: text) else {
                throw CommandError(description: "\(variable): '\(text)' is no valid value")
            }
            origins[name] = .environment
            return value
        }
        guard let text = recorded[name] else { return nil }
        guard let value = Value(argument: text) else {
            throw CommandError(description: "recorded \(name): '\(text)' is no valid value", kind: .badData)
        }
        origins[name] = .file
        return value
    }
}

/// Bytes as a person writes them: `20G`, `1.5GiB`, `512M`, `1073741824`. Units are powers of 1024.
struct ByteCount: ExpressibleByArgument {
    let bytes: Int

    init?(argument: String) {
        let digits = argument.prefix { $0.isNumber || $0 == "." }
        let unit = argument.dropFirst(digits.count).uppercased()
        let power = ["", "K", "M", "G", "T"].firstIndex { [$0, $0 + "B", $0 + "IB"].contains(unit) }
        guard let power, let number = Double(digits) else { return nil }
        let value = (0..<power).reduce(number) { value, _ in value * 1024 }
        guard value >= 1, value < 1e18 else { return nil }
        bytes = Int(value)
    }
}

/// `832x480` or `832*480`.
struct FrameSize: ExpressibleByArgument {
    let width: Int
    let height: Int

    init(width: Int, height: Int) {
        self.width = width
        self.height = height
    }

    init?(argument: String) {
        let parts = argument.split(omittingEmptySubsequences: false) { $0 == "x" || $0 == "*" }.map { Int($0) }
        guard parts.count == 2, let width = parts[0], let height = parts[1] else { return nil }
        self.width = width
        self.height = height
    }
}

/// Two fractions of the loop, `0.1:0.9`.
struct Interval: ExpressibleByArgument {
    let start: Double
    let end: Double

    init?(argument: String) {
        let parts = argument.split(separator: ":", omittingEmptySubsequences: false).map { Double($0) }
        guard parts.count == 2, let start = parts[0], let end = parts[1] else { return nil }
        self.start = start
        self.end = end
    }
}

extension FrameRate: ExpressibleByArgument {
    public init?(argument: String) {
        guard let rate = try? FrameRate(parsing: argument) else { return nil }
        self = rate
    }
}

extension FrameRounding: ExpressibleByArgument {}
extension Precision: ExpressibleByArgument {}
extension VideoCodec: ExpressibleByArgument {}
extension SchedulerConfiguration.Kind: ExpressibleByArgument {}
extension UniPCMultistep.Spacing: ExpressibleByArgument {}
extension AttentionContext.Fallback: ExpressibleByArgument {}
