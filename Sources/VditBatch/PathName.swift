import Foundation
import Glibc

/// Paths as text, and the few questions about them that need the system.
enum PathName {
    static func folder(of path: String) -> String {
        let folder = (path as NSString).deletingLastPathComponent
        return folder.isEmpty ? "." : folder
    }

    static func name(of path: String) -> String { (path as NSString).lastPathComponent }

    /// The name without its last extension.
    static func stem(of path: String) -> String { (name(of: path) as NSString).deletingPathExtension }

    /// Leading `..` steps go up in `folder`, as far as its parts are no symbolic links.
    static func resolved(_ path: String, in folder: String) -> String {
        if path.hasPrefix("/") { return path }
        var (path, folder) = (path, folder)
        while path.hasPrefix("../"), !folder.isEmpty, ![".", "..", "/"].contains(name(of: folder)),
            (try? FileManager.default.destinationOfSymbolicLink(atPath: folder)) == nil
        {
            path.removeFirst(3)
            folder = Self.folder(of: folder)
        }
        return folder == "." ? path : folder == "/" ? "/" + path : folder + "/" + path
    }

    /// The same file always gives the same text: absolute, without `.` and `..`.
    static func canonical(_ path: String) -> String {
        let absolute = path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
        return URL(fileURLWithPath: absolute).standardizedFileURL.path
    }

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    static func isFolder(_ path: String) -> Bool {
        var isFolder: ObjCBool = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && isFolder.boolValue
    }

    /// The path itself if it is a folder, else the nearest folder above it that exists.
    static func existingFolder(_ path: String) -> String {
        var folder = path
        var isFolder: ObjCBool = false
        while !(FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder)) {
            let above = Self.folder(of: folder)
            if above == folder { break }
            folder = above
        }
        return folder
    }

    static func names(in folder: String) -> [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    }

    /// Characters a shell, a file system and a reader agree on.
    static func label(_ text: String) -> String {
        let kept = text.map { $0.isASCII && ($0.isLetter || $0.isNumber || "._-+=".contains($0)) ? $0 : "-" }
        return String(kept.prefix(80))
    }
}
