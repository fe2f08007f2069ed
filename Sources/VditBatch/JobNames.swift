import Glibc
import VditFiles
import VditPipeline
import VditTensor

/// Jobs as a person names them.
public enum JobNames {
    /// The ids a list of names stands for: an id, a job's name for all its combinations, or a pattern with `*`.
    ///
    /// - Throws: `BatchError.unknownJob` for a name that stands for none.
    public static func matching(_ names: [String], among ids: [String]) throws(BatchError) -> [String] {
        var chosen: Set<String> = []
        for name in names {
            let found = ids.filter { $0 == name || $0.hasPrefix(name + "/") || fnmatch(name, $0, 0) == 0 }
            if found.isEmpty { throw .unknownJob(name, suggestion: nearestName(to: name, among: ids)) }
            chosen.formUnion(found)
        }
        return ids.filter(chosen.contains)
    }
}
