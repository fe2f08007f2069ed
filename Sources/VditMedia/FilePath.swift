import Glibc
import VditTensor

/// Questions about paths, asked of the system without opening anything.
enum FilePath {
    static func name(_ path: String) -> String {
        path.split(separator: "/", omittingEmptySubsequences: false).last.map(String.init) ?? ""
    }

    /// The directory a path lies in, "." if it names none.
    static func directory(_ path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    static func joined(_ directory: String, _ name: String) -> String {
        directory.hasSuffix("/") ? directory + name : directory + "/" + name
    }

    /// The file type bits of `stat`, or the errno.
    static func type(_ path: String) -> (type: mode_t?, errno: Int32) {
        var status = stat()
        return stat(path, &status) == 0 ? (status.st_mode & S_IFMT, 0) : (nil, Glibc.errno)
    }

    static func exists(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }

    /// The names in a directory, sorted; hidden ones included.
    static func names(in directory: String) throws(MediaError) -> [String] {
        guard let names = directoryEntries(directory) else {
            throw .system(directory, errno: errno, missing: .missingInput)
        }
        return names.sorted()
    }
}
