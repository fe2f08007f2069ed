import Foundation
import Glibc

/// Paths as text, and the few questions about them that need the system.
package enum FilePath {
    // MARK: Text

    /// What stands before and behind the last slash; the directory is "." if there is none.
    package static func split(_ path: String) -> (directory: String, name: String) {
        guard let slash = path.lastIndex(of: "/") else { return (".", path) }
        let directory = slash == path.startIndex ? "/" : String(path[..<slash])
        return (directory, String(path[path.index(after: slash)...]))
    }

    package static func joined(_ directory: String, _ name: String) -> String {
        directory.hasSuffix("/") ? directory + name : directory + "/" + name
    }

    /// The folder a file or a folder lies in; a slash at the end does not count.
    package static func folder(of path: String) -> String { split(withoutLastSlashes(path)).directory }

    /// The name of a file or a folder; a slash at the end does not count.
    package static func name(of path: String) -> String { split(withoutLastSlashes(path)).name }

    /// The name without its last extension.
    package static func stem(of path: String) -> String {
        let name = name(of: path)
        guard let dot = name.lastIndex(of: "."), dot != name.startIndex, name.index(after: dot) != name.endIndex
        else { return name }
        return String(name[..<dot])
    }

    /// `prompts/red-ball.safetensors` is called red-ball; 0.5 stays 0.5.
    package static func stemIfPath(_ text: String) -> String {
        text.contains("/") || text.hasSuffix(".safetensors") || text.hasSuffix(".npy") ? stem(of: text) : text
    }

    /// Characters a shell, a file system and a reader agree on.
    package static func label(_ text: String) -> String {
        let kept = text.map { $0.isASCII && ($0.isLetter || $0.isNumber || "._-+=".contains($0)) ? $0 : "-" }
        return String(kept.prefix(80))
    }

    private static func withoutLastSlashes(_ path: String) -> String {
        var path = path
        while path.count > 1, path.hasSuffix("/") { path.removeLast() }
        return path
    }

    // MARK: Questions

    /// The file type bits of `stat`, or the errno.
    package static func type(_ path: String) -> (type: mode_t?, errno: Int32) {
        var status = stat()
        return stat(path, &status) == 0 ? (status.st_mode & S_IFMT, 0) : (nil, Glibc.errno)
    }

    package static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    package static func isFolder(_ path: String) -> Bool { type(path).type == S_IFDIR }

    /// Whether something has this name, be it a link to nothing.
    package static func isTaken(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }

    /// The path itself if it exists, else the nearest folder above it that does.
    package static func existingFolder(_ path: String) -> String {
        var folder = path
        while !exists(folder) {
            let above = Self.folder(of: folder)
            if above == folder { break }
            folder = above
        }
        return folder
    }

    /// The names in a directory, hidden ones included, in no order; nil with `errno` set where it cannot be opened.
    package static func names(in directory: String) -> [String]? {
        guard let stream = opendir(directory) else { return nil }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    /// Leading `..` steps go up in `folder`, as far as its parts are no symbolic links.
    package static func resolved(_ path: String, in folder: String) -> String {
        if path.hasPrefix("/") { return path }
        var (path, folder) = (path, folder)
        while path.hasPrefix("../"), !folder.isEmpty, ![".", "..", "/", ""].contains(name(of: folder)),
            (try? FileManager.default.destinationOfSymbolicLink(atPath: folder)) == nil
        {
            path.removeFirst(3)
            folder = Self.folder(of: folder)
        }
        return folder == "." ? path : folder == "/" ? "/" + path : folder + "/" + path
    }

    /// The same file always gives the same text: absolute, without `.` and `..`.
    package static func canonical(_ path: String) -> String {
        let absolute = path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
        return URL(fileURLWithPath: absolute).standardizedFileURL.path
    }
}
