import Foundation
import TestSupport
import Testing
import VDiT

/// A real cgroup of the machine's.
@Suite struct LimitedGroupTests {
    /// A new group, where the machine lets one be made and entered.
    private static let writable: String? = {
        for top in ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"] {
            let path = "\(top)/vdit-tests-\(getpid())"
            guard mkdir(path, 0o755) == 0 else { continue }
            defer { rmdir(path) }
            let limit = top.hasSuffix("memory") ? "memory.limit_in_bytes" : "memory.max"
            // A group's file may be there and its processes' not take any.
            let enters = try? CommandRun.run(["\(path)/cgroup.procs"], script: "echo $$ > \"$1\"").status == 0
            if enters == true, FileManager.default.isWritableFile(atPath: "\(path)/\(limit)") { return path }
        }
        return nil
    }()

    @Test(.enabled(if: writable != nil, "no cgroup is limited for real: this machine lets nobody make one"))
    func aCommandInALimitedGroupSeesTheLimit() throws {
        let group = try #require(Self.writable)
        try #require(mkdir(group, 0o755) == 0)
        defer { rmdir(group) }
        let isUnified = !group.hasPrefix("/sys/fs/cgroup/memory/")
        let limit = "\(group)/\(isUnified ? "memory.max" : "memory.limit_in_bytes")"
        let ended = try CommandRun.run(
            [limit, "\(group)/cgroup.procs"],
            script: "echo \(200 << 20) > \"$1\" && echo $$ > \"$2\" && exec \"$VDIT\" doctor")
        let line = ended.lines.isEmpty ? ended.output : ended.errors + ended.output
        #expect(line.contains("(cgroup memory."), "\(line)")
    }
}
