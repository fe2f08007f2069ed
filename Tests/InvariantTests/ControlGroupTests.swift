import Foundation
import TestSupport
import Testing
import VDiT

/// What cgroups leave of the machine, read from folders that stand for its own.
@Suite struct ControlGroupTests {
    private static let mebibyte = 1 << 20

    private func machine(_ cgroup: String, _ files: [String: String]) throws -> TemporaryDirectory {
        let folder = try TemporaryDirectory()
        try folder.write(cgroup, "proc/self/cgroup")
        try folder.write("MemTotal:  9000000 kB\nMemAvailable:    8388608 kB\n", "proc/meminfo")
        for (name, text) in files { try folder.write(text + "\n", "sys/fs/cgroup/\(name)") }
        return folder
    }

    @Test func theTightestGroupOfTheSecondVersionCountsWhicheverAncestorItIs() throws {
        let files = [
            "slurm/memory.max": "\(900 * Self.mebibyte)", "slurm/memory.current": "\(100 * Self.mebibyte)",
            "slurm/job_7/memory.max": "max", "slurm/job_7/memory.current": "\(90 * Self.mebibyte)",
            "slurm/job_7/step/cpu.max": "max 100000", "slurm/job_7/cpu.max": "150000 100000", "slurm/cpu.max": "400000 100000",
        ]
        let folder = try machine("0::/slurm/job_7/step\n", files)
        #expect(MemoryLimit.current(root: folder.path) == MemoryLimit(bytes: 800 * Self.mebibyte, source: "cgroup memory.max"))
        #expect(processorLimit(root: folder.path) == 1.5)
        try folder.write("\(500 * Self.mebibyte)\n", "sys/fs/cgroup/slurm/job_7/memory.max")
        #expect(MemoryLimit.current(root: folder.path).bytes == 410 * Self.mebibyte)
        // What files take of it is free for those who need it.
        try folder.write("anon 5\ninactive_file \(60 * Self.mebibyte)\n", "sys/fs/cgroup/slurm/job_7/memory.stat")
        #expect(MemoryLimit.current(root: folder.path).bytes == 470 * Self.mebibyte)
        try folder.write("\(600 * Self.mebibyte)\n", "sys/fs/cgroup/slurm/job_7/memory.current")
        try folder.write("", "sys/fs/cgroup/slurm/job_7/memory.stat")
        #expect(MemoryLimit.current(root: folder.path).bytes == 0)
    }

    @Test func theFirstVersionIsReadUnderEveryControllersOwnFolder() throws {
        let folder = try machine(
            "4:memory:/slurm/job_7\n3:cpuacct,cpu:/slurm\n0::/\n",
            [
                "memory/slurm/job_7/memory.limit_in_bytes": "\(300 * Self.mebibyte)",
                "memory/slurm/job_7/memory.usage_in_bytes": "\(200 * Self.mebibyte)",
                "memory/slurm/job_7/memory.stat": "inactive_file 1\ntotal_inactive_file \(50 * Self.mebibyte)",
                "memory/memory.limit_in_bytes": "9223372036854771712", "cpu/slurm/cpu.cfs_quota_us": "200000",
                "cpu/slurm/cpu.cfs_period_us": "100000", "cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000",
            ])
        #expect(
            MemoryLimit.current(root: folder.path)
                == MemoryLimit(bytes: 150 * Self.mebibyte, source: "cgroup memory.limit_in_bytes"))
        #expect(processorLimit(root: folder.path) == 2)
    }

    @Test func aContainerThatSeesOnlyTheTopOfItsGroupsIsLimitedByThat() throws {
        let folder = try machine(
            "0::/not/to/be/seen\n",
            ["memory.max": "\(64 * Self.mebibyte)", "memory.current": "0", "cpu.max": "50000 100000"])
        #expect(MemoryLimit.current(root: folder.path).bytes == 64 * Self.mebibyte)
        #expect(processorLimit(root: folder.path) == 0.5)
    }

    @Test(arguments: ["", "nonsense", "0::", "::::\n4:memory\n", "0::/a/../../b"])
    func groupsThatCannotBeReadLimitNothing(_ text: String) throws {
        let folder = try machine(text, ["memory.max": "lots", "cpu.max": "0 0", "memory/memory.limit_in_bytes": "-"])
        #expect(MemoryLimit.current(root: folder.path) == MemoryLimit(bytes: 8 << 30, source: "MemAvailable"))
        #expect(processorLimit(root: folder.path) == nil)
    }
}
