import Glibc

/// Paths as text, and the few questions about them that need the system.
package enum FilePath {
    // MARK: Text

    /// What stands before and behind the last slash; the directory is "." if there is none.
    package static func split(_ path: String) -> (directory: String, name: String) {
        // Byte for byte: a mark that combines with the slash is a part of the name.
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return (".", path) }
        let directory = slash == path.startIndex ? "/" : String(path[..<slash])
        return (directory, String(path[path.utf8.index(after: slash)...]))
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

    private static func isAbsolute(_ path: String) -> Bool { path.utf8.first == UInt8(ascii: "/") }

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

    /// What lies at a path, links followed; nil if nothing does.
    package struct Node: Sendable, Equatable {
        private let device: UInt64
        private let inode: UInt64

        package init?(_ path: String) {
            var status = stat()
            guard stat(path, &status) == 0 else { return nil }
            (device, inode) = (UInt64(status.st_dev), UInt64(status.st_ino))
        }
    }

    /// Whether two paths lead to the same file.
    package static func isSame(_ one: String, _ other: String) -> Bool {
        one.utf8.elementsEqual(other.utf8) || Node(one).map { $0 == Node(other) } ?? false
    }

    /// Whether a file was last written when another was, or later; false where one of them is not there.
    package static func isNoOlder(_ path: String, than other: String) -> Bool {
        var (own, theirs) = (stat(), stat())
        guard stat(path, &own) == 0, stat(other, &theirs) == 0 else { return false }
        return (own.st_mtim.tv_sec, own.st_mtim.tv_nsec) >= (theirs.st_mtim.tv_sec, theirs.st_mtim.tv_nsec)
    }

    package static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    package static func isFolder(_ path: String) -> Bool { type(path).type == S_IFDIR }

    /// Whether something has this name, be it a link to nothing.
    package static func isTaken(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0
    }

    /// The path with the first number behind it that nothing has.
    package static func firstFree(_ path: String) -> String {
        var number = 1
        while isTaken("\(path).\(number)") { number += 1 }
        return "\(path).\(number)"
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

    /// The file's name in the nearest folder above it that exists: where it can be checked before its folder is made.
    package static func inExistingFolder(_ path: String) -> String {
        existingFolder(folder(of: path)) + "/" + name(of: path)
    }

    /// The names in a directory, hidden ones included, in no order; nil with `errno` set where it cannot be opened.
    package static func names(in directory: String) -> [String]? {
        guard let stream = opendir(directory) else { return nil }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(path: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    /// Files in a folder and the folders in it, so many levels deep; links are not followed.
    package static func files(under folder: String, depth: Int = 8) -> [String] {
        guard depth > 0 else { return [] }
        return (names(in: folder) ?? []).flatMap { name -> [String] in
            let path = joined(folder, name)
            return isFolder(path) && destination(ofLink: path) == nil ? files(under: path, depth: depth - 1) : [path]
        }
    }

    /// Leading `..` steps go up in `folder`, as far as its parts are no symbolic links.
    package static func resolved(_ path: String, in folder: String) -> String {
        if isAbsolute(path) { return path }
        var (path, folder) = (path, folder)
        func isLink(_ path: String) -> Bool { destination(ofLink: path) != nil }
        while path.hasPrefix("../"), !folder.isEmpty, ![".", "..", "/", ""].contains(name(of: folder)),
            !isLink(folder)
        {
            path.removeFirst(3)
            folder = Self.folder(of: folder)
        }
        if path == StandardOutput.name { path = "./" + path }
        return folder == "." ? path : folder == "/" ? "/" + path : folder + "/" + path
    }

    /// The same file always gives the same text: absolute, without `.` and `..`.
    package static func canonical(_ path: String) -> String {
        let absolute = isAbsolute(path) ? path : workingFolder() + "/" + path
        var parts: [String] = []
        for part in absolute.utf8.split(separator: UInt8(ascii: "/")).map({ String(Substring($0)) }) where part != "." {
            if part == ".." { _ = parts.popLast() } else { parts.append(part) }
        }
        return "/" + parts.joined(separator: "/")
    }

    /// The same place always gives the same text: absolute, links followed as far as the path exists.
    package static func real(_ path: String) -> String {
        var (existing, rest) = (path.isEmpty ? "." : path, "")
        while true {
            if let found = realpath(existing) { return rest.isEmpty ? found : joined(found, rest) }
            let above = folder(of: existing)
            if above == existing { return canonical(path) }
            let name = name(of: existing)
            if name != "." { rest = rest.isEmpty ? name : name + "/" + rest }
            existing = above
        }
    }

    /// Where relative paths begin.
    package static func workingFolder() -> String {
        guard let path = getcwd(nil, 0) else { return "." }
        defer { free(path) }
        return String(path: path)
    }

    /// Where a symbolic link points; nil for anything else.
    package static func destination(ofLink path: String) -> String? {
        var characters = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink(path, &characters, characters.count)
        return count < 0 ? nil : String(pathBytes: characters[..<count].map(UInt8.init(bitPattern:)))
    }

    /// Makes a folder, and those above it, where they do not exist.
    ///
    /// - Throws: `FileError.inaccessible`.
    package static func makeFolder(_ path: String) throws(FileError) {
        if path.isEmpty { throw .emptyPath("folder") }
        if path.utf8.contains(0) {
            throw .inaccessible(path: path, reason: "the path contains a NUL character", kind: .cannotCreate)
        }
        if isFolder(path) { return }
        let above = folder(of: path)
        if above != path, !exists(above) { try makeFolder(above) }
        // Another process may make it at the same time.
        if mkdir(path, 0o777) != 0 {
            let code = Glibc.errno
            if isFolder(path) { return }
            let (reason, kind) = FileError.writing(code)
            throw .inaccessible(path: path, reason: "the folder cannot be created: \(reason)", kind: kind)
        }
    }
}
