import Foundation
import Glibc

/// Which process holds a lease, so that others on the machine can see whether it still lives.
public struct WorkerIdentity: Sendable, Equatable, CustomStringConvertible {
    let host: String
    let boot: String
    let namespace: String
    let process: Int32
    /// Ticks since boot at which the process started: numbers of processes are used again.
    let started: String

    /// This process.
    public static func current() -> WorkerIdentity {
        WorkerIdentity(
            host: name(ProcessInfo.processInfo.hostName), boot: bootID(), namespace: namespaceID(),
            process: getpid(), started: startTime(getpid()) ?? "0")
    }

    private init(host: String, boot: String, namespace: String, process: Int32, started: String) {
        self.host = host
        self.boot = boot
        self.namespace = namespace
        self.process = process
        self.started = started
    }

    /// Reads what `description` gives.
    public init?(_ text: String) {
        let fields = text.split(separator: " ").map(String.init)
        guard fields.count == 5, let process = Int32(fields[3]) else { return nil }
        self.init(host: fields[0], boot: fields[1], namespace: fields[2], process: process, started: fields[4])
    }

    public var description: String { "\(host) \(boot) \(namespace) \(process) \(started)" }

    /// Known to be gone; false also where that cannot be known from here.
    func isGone(seenBy other: WorkerIdentity) -> Bool {
        (host, boot, namespace) == (other.host, other.boot, other.namespace)
            && Self.startTime(process) != started
    }

    private static func name(_ text: String) -> String {
        text.isEmpty ? "unknown" : text.replacing(" ", with: "-")
    }

    private static func bootID() -> String {
        let text = try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)
        return name(text?.trimmingCharacters(in: .whitespacesAndNewlines) ?? "")
    }

    private static func namespaceID() -> String {
        name((try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/pid")) ?? "")
    }

    /// Nil when there is no such process, or only its remains.
    private static func startTime(_ process: Int32) -> String? {
        guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
            let name = text.lastIndex(of: ")")
        else { return nil }
        // The fields after the command's name: state is the first, the start time the twentieth.
        let fields = text[text.index(after: name)...].split(separator: " ")
        guard fields.count > 19, fields[0] != "Z", fields[0] != "X" else { return nil }
        return String(fields[19])
    }
}
