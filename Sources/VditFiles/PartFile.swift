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
        return "\(directory)/.\(name).\(host).\(getpid()).\(processStart(getpid()) ?? "0").part"
    }

    /// Removes what was left unfinished under the name `path`, files and folders of files.
    public static func removeLeftovers(of path: String, makers: Makers = .dead) {
        let (directory, name) = FilePath.split(path)
        let prefix = ".\(name)."
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

    /// Removes a file, or a folder with the files in it.
    public static func remove(_ path: String) {
        if unlink(path) == 0 || errno == ENOENT { return }
        for name in FilePath.names(in: path) ?? [] { unlink("\(path)/\(name)") }
        rmdir(path)
    }

    /// Eight hexadecimal digits.
    private static let host: String = {
        var name = [CChar](repeating: 0, count: 257)
        var space = [CChar](repeating: 0, count: 64)
        gethostname(&name, name.count - 1)
        _ = readlink("/proc/self/ns/pid", &space, space.count - 1)
        // FNV-1a.
        let digest = (name + space).reduce(0x811c_9dc5 as UInt32) {
            ($0 ^ UInt32(UInt8(bitPattern: $1))) &* 0x0100_0193
        }
        let digits = String(digest, radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }()

    /// Also true where that cannot be known.
    private static func lives(_ process: pid_t, since start: Substring) -> Bool {
        if kill(process, 0) != 0 && errno == ESRCH { return false }
        return processStart(process).map { $0 == start } ?? true
    }
}
