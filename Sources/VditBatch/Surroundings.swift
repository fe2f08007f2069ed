import Foundation
import Glibc
import VditFiles
import VditPipeline

/// What the cluster, where there is one, leaves this process of the machine.
enum Surroundings {
    /// The variables of the process. Names of files in them may be no text.
    static var environment: [String: String] {
        let names = ProcessInfo.processInfo.environment.keys
        return Dictionary(uniqueKeysWithValues: names.compactMap { name in getenv(name).map { (name, String(path: $0)) } })
    }

    private static func number(_ name: String) -> Int? {
        ProcessInfo.processInfo.environment[name].flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil }
    }

    /// Cores of this process: its affinity and cgroup, and no more than Slurm gave it.
    static func processors() -> Int {
        min(usableProcessors(), number("SLURM_CPUS_PER_TASK") ?? .max)
    }

    /// Bytes Slurm gave the task; nil outside of it. The cgroup is looked at by `MemoryLimit`.
    static func memory() -> Int? {
        let perNode = number("SLURM_MEM_PER_NODE")
        let perTask = number("SLURM_MEM_PER_CPU").map { $0 * (number("SLURM_CPUS_PER_TASK") ?? 1) }
        return (perNode ?? perTask).map { min($0, 1 << 40) << 20 }
    }
}
