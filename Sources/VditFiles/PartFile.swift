import Glibc

/// Names of files in the making, and what becomes of those whose maker died.
///
/// What is to be `out.mp4` is written as `.out.mp4.<host>.<process>.<start>.part` beside it: a digest of the machine's
/// name and of the space its process numbers come from, the process, and when that started, in ticks since boot. So a
/// file whose maker still lives, here or on another machine, is never taken for a leftover, nor is one of a process
/// whose number was used again.
public enum PartFile {
    public enum Makers: Sendable {
        /// Processes of this machine that live no more.
        case dead
        /// Anybody: for who knows to be alone.
        case all
    }

    /// Where this process writes what will become `path`.
    public static func path(for path: String) -> String {
        let (directory, name) = FilePath.split(path)
        return "\(directory)/.\(stem(of: name)).\(host).\(getpid()).\(processStart(getpid()) ?? "0").part"
    }

    /// Removes what was left unfinished under the name `path`, files and folders of files.
    public static func removeLeftovers(of path: String, makers: Makers = .dead) {
        let (directory, name) = FilePath.split(path)
        let prefix = ".\(stem(of: name))."
        for entry in FilePath.names(in: directory) ?? [] where entry.hasPrefix(prefix) && entry.hasSuffix(".part") {
            let maker = entry.dropFirst(prefix.count).dropLast(".part".count).split(
                separator: ".", omittingEmptySubsequences: false)
            guard maker.count == 3, maker[0].count == host.count, let process = pid_t(maker[1]), process > 0,
                UInt64(maker[2]) != nil
            else { continue }
            if makers == .all || (maker[0] == host && !lives(process, since: maker[2])) {
                remove("\(directory)/\(entry)")
            }
        }
    }

    /// Removes a file, or a folder with the files in it and in its folders.
    public static func remove(_ path: String) {
        if unlink(path) == 0 || errno == ENOENT { return }
        for name in FilePath.names(in: path) ?? [] { remove("\(path)/\(name)") }
        rmdir(path)
    }

    /// What stands for a name in those of hidden files beside it: the name, or a part of one so long that the whole
    /// would leave no room for the rest.
    static func stem(of name: String) -> String {
        if name.utf8.count <= longestStem { return name }
        var start = name
        while start.utf8.count > longestStem - 9 { start.removeLast() }
        return start + "-" + digest(name.utf8)
    }

    /// Names have at most 255 bytes, and what follows a stem at most 50.
    private static let longestStem = 200

    private static let host: String = {
        var name = [CChar](repeating: 0, count: 257)
        var space = [CChar](repeating: 0, count: 64)
        gethostname(&name, name.count - 1)
        _ = readlink("/proc/self/ns/pid", &space, space.count - 1)
        return digest((name + space).map(UInt8.init(bitPattern:)))
    }()

    /// Eight hexadecimal digits.
    private static func digest(_ bytes: some Sequence<UInt8>) -> String {
        // FNV-1a.
        let digest = bytes.reduce(0x811c_9dc5 as UInt32) { ($0 ^ UInt32($1)) &* 0x0100_0193 }
        let digits = String(digest, radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }

    /// Also true where that cannot be known.
    private static func lives(_ process: pid_t, since start: Substring) -> Bool {
        if kill(process, 0) != 0 && errno == ESRCH { return false }
        return processStart(process).map { $0 == start } ?? true
    }
}
