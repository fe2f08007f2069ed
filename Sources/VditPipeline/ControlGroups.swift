import VditFiles

/// The control groups of this process, of either version of the kernel's interface.
struct ControlGroups {
    /// What stands for `/`.
    let root: String

    /// One group: the process's own, or one it lies in.
    struct Group {
        let folder: String
        /// Version 2, where all controllers share a folder.
        let isUnified: Bool

        func number(_ name: String) -> Int? { systemLines("\(folder)/\(name)").first.flatMap { Int($0) } }

        /// A value of a file that names one a line.
        func number(_ name: String, of file: String) -> Int? {
            for line in systemLines("\(folder)/\(file)") where line.hasPrefix(name + " ") {
                return Int(line.dropFirst(name.count + 1))
            }
            return nil
        }
    }

    /// The groups a controller (`memory`, `cpu`) may limit this process by: a limit may sit on any ancestor. Inside a
    /// container the process's own path may not exist, the topmost does.
    func groups(_ controller: String) -> [Group] {
        systemLines("\(root)/proc/self/cgroup").flatMap { line -> [Group] in
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { return [] }
            let isUnified = fields[1].isEmpty
            guard isUnified || fields[1].split(separator: ",").contains(Substring(controller)) else { return [] }
            let top = "\(root)/sys/fs/cgroup" + (isUnified ? "" : "/\(controller)")
            var names = fields[2].split(separator: "/")
            var groups = [Group(folder: top, isUnified: isUnified)]
            while !names.isEmpty {
                groups.append(Group(folder: top + "/" + names.joined(separator: "/"), isUnified: isUnified))
                names.removeLast()
            }
            return groups
        }
    }
}
