import Foundation
import Glibc
import VditFiles
import VditTensor

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
            process: getpid(), started: processStart(getpid()) ?? "0")
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
            && processStart(process) != started
    }

    private static func name(_ text: String) -> String {
        text.isEmpty ? "unknown" : text.replacing(" ", with: "-")
    }

    private static func bootID() -> String {
        let text = try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)
        return name(text?.trimmingCharacters(in: .whitespacesAndNewlines) ?? "")
    }

    private static func namespaceID() -> String {
        name(FilePath.destination(ofLink: "/proc/self/ns/pid") ?? "")
    }
}
