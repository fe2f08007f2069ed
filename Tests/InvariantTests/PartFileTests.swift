import Foundation
import TestSupport
import Testing
import VDiT

/// Whose unfinished files are removed, and whose are not.
struct PartFileTests {
    private let folder: TemporaryDirectory
    private let target: String

    init() throws {
        folder = try TemporaryDirectory()
        target = folder.path("out.bin")
    }

    /// A file in the making as another process would name it.
    private func part(host: String? = nil, process: pid_t, start: String) throws -> String {
        let own = (PartFile.path(for: target) as NSString).lastPathComponent.split(separator: ".")
        return try folder.write("half", ".out.bin.\(host ?? String(own[2])).\(process).\(start).part")
    }

    /// Number and start of a process that has ended.
    private func dead() throws -> pid_t {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/true")
        try process.run()
        process.waitUntilExit()
        return process.processIdentifier
    }

    private func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

    @Test func whatDeadProcessesOfThisMachineLeftIsRemovedByTheNextToWriteTheFile() throws {
        let left = try part(process: dead(), start: "1")
        // The number of a dead process lives on in another.
        let reused = try part(process: 1, start: "123456789012")
        try AtomicFile.write([1], to: target, existing: .refuse)
        #expect(!exists(left) && !exists(reused) && folder.contents == ["out.bin"])
    }

    @Test func whatOthersAreWritingIsKept() throws {
        let elsewhere = try part(host: "00000000", process: dead(), start: "1")
        let living = Process()
        living.executableURL = URL(fileURLWithPath: "/bin/cat")
        living.standardInput = Pipe()
        try living.run()
        defer {
            // It may have been started with other signals blocked.
            kill(living.processIdentifier, SIGKILL)
            living.waitUntilExit()
        }
        let stat = try String(contentsOfFile: "/proc/\(living.processIdentifier)/stat", encoding: .utf8)
        let start = stat[(stat.lastIndex(of: ")") ?? stat.startIndex)...].split(separator: " ")[20]
        let alive = try part(process: living.processIdentifier, start: String(start))
        let names = [
            ".out.bin.part", ".out.bin.4711.part", ".out.bin.gz.0badcafe.1.2.part", ".out.bin.0badcafe.x.2.part",
            ".out.0badcafe.1.2.part", "out.bin.0badcafe.1.2.part",
        ]
        for name in names { try folder.write("", name) }
        try AtomicFile.write([1], to: target, existing: .refuse)
        #expect(exists(elsewhere) && exists(alive))
        #expect(names.allSatisfy { exists(folder.path($0)) })
        PartFile.removeLeftovers(of: target, makers: .all)
        #expect(!exists(elsewhere) && !exists(alive))
        #expect(names.allSatisfy { exists(folder.path($0)) })
    }
}
