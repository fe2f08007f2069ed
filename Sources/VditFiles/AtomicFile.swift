import Glibc

/// What to do when an output already exists.
public enum ExistingFile: Sendable {
    case refuse, replace
    /// It stays where it holds the same bytes already, and is refused where it does not: what a process that was
    /// killed had finished.
    case confirm
}

/// A file that appears under its name complete or not at all.
///
/// Bytes go to a `PartFile` beside the target; `commit` syncs it, renames it and syncs the directory. Dropped
/// without a commit, it leaves nothing, and what a process that was killed left, the next to write the same file
/// removes. `SIGXFSZ` has to be ignored by the process for a file size limit to arrive here as an error.
///
/// `StandardOutput.name` is no file: its bytes go out as they come.
public final class AtomicFile {
    public let path: String
    /// Nil for standard output.
    private let temporary: String?
    private let existing: ExistingFile
    private var descriptor: Int32

    /// - Throws: `FileError.inaccessible`: the directory is missing or not writable, the target is not a
    ///   regular file, or it exists and `existing` is `.refuse`.
    public init(_ path: String, existing: ExistingFile) throws(FileError) {
        self.path = StandardOutput.shown(path)
        self.existing = existing
        if path == StandardOutput.name {
            (temporary, descriptor) = (nil, STDOUT_FILENO)
            return
        }
        try Self.check(path, existing: existing)
        let temporary = Self.freshTemporaryPath(for: path)
        self.temporary = temporary
        descriptor = Self.create(temporary)
        if descriptor < 0 { throw .writing(path, errno) }
    }

    deinit {
        if let temporary, descriptor >= 0 {
            close(descriptor)
            unlink(temporary)
        }
    }

    /// Appends bytes.
    ///
    /// - Throws: `FileError.inaccessible` (full disk, quota, size limit); nothing remains then.
    public func write(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
        precondition(descriptor >= 0, "write after commit")
        var done = 0
        while done < bytes.count {
            // Linux writes at most 2 GiB at a time anyway.
            let some = Glibc.write(descriptor, bytes.baseAddress! + done, min(bytes.count - done, 1 << 30))
            if some > 0 {
                done += some
            } else if some == 0 || errno != EINTR {
                throw .writing(path, some == 0 ? EIO : errno)
            }
        }
    }

    public func write(_ bytes: [UInt8]) throws(FileError) {
        var failure: FileError?
        bytes.withUnsafeBytes { bytes in
            do throws(FileError) { try write(bytes) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// Goes on so many bytes further. What is left out reads as zeros, and takes no room where the file system can do
    /// that.
    ///
    /// - Throws: `FileError.inaccessible` where the file would be too large.
    public func skip(_ bytes: Int) throws(FileError) {
        precondition(descriptor >= 0, "skip after commit")
        let end = lseek(descriptor, off_t(bytes), SEEK_CUR)
        if end < 0 || ftruncate(descriptor, end) != 0 { throw .writing(path, errno) }
    }

    /// Gives the file its name. To be called once, last.
    public func commit() throws(FileError) {
        precondition(descriptor >= 0, "commit twice")
        guard let temporary else {
            descriptor = -1
            return
        }
        var code: Int32 = 0
        if fsync(descriptor) != 0 { code = errno }
        if close(descriptor) != 0 && code == 0 { code = errno }
        descriptor = -1
        if code != 0 {
            unlink(temporary)
            throw .writing(path, code)
        }
        try Self.rename(temporary, to: path, existing: existing)
    }

    /// Writes all bytes of a small file at once.
    public static func write(
        _ bytes: [UInt8], to path: String, existing: ExistingFile
    ) throws(FileError) {
        let file = try AtomicFile(path, existing: existing)
        try file.write(bytes)
        try file.commit()
    }
}

// For writers that open their file themselves, as libav does.
extension AtomicFile {
    /// Where to write what will become `path`, with nothing in the way; removes what dead processes left there.
    public static func freshTemporaryPath(for path: String) -> String {
        PartFile.removeLeftovers(of: path)
        let temporary = PartFile.path(for: path)
        PartFile.remove(temporary)
        return temporary
    }

    /// Checks, before any work is spent, that `path` can be created.
    ///
    /// - Throws: `FileError.inaccessible`: the directory is missing or not writable, the target is not a
    ///   regular file, or it exists and `existing` is `.refuse`.
    public static func check(_ path: String, existing: ExistingFile) throws(FileError) {
        func refuse(_ reason: String) -> FileError {
            .inaccessible(path: path, reason: reason, kind: .cannotCreate)
        }
        if path.isEmpty { throw .emptyPath("output") }
        if path == StandardOutput.name {
            throw .inaccessible(
                path: StandardOutput.shown(path), reason: "does not take this one; expected a file name ('./-' is one)",
                kind: .usage)
        }
        let (directory, name) = FilePath.split(path)
        if path.utf8.contains(0) { throw refuse("the path contains a NUL character") }
        if ["", ".", ".."].contains(name) { throw refuse("names a directory, expected a file name") }
        var status = stat()
        if stat(directory, &status) != 0 {
            if errno == ENOENT || errno == ENOTDIR {
                throw refuse("directory \(directory) does not exist; create it first")
            }
            throw .writing(path, errno)
        }
        if status.st_mode & S_IFMT != S_IFDIR { throw refuse("\(directory) is not a directory") }
        if access(directory, W_OK | X_OK) != 0 { throw .writing(directory, errno) }
        if lstat(path, &status) == 0 {
            if status.st_mode & S_IFMT == S_IFLNK && stat(path, &status) != 0 {
                throw refuse("is a symbolic link to nothing")
            }
            if let kind = InputFile.specialKind(status.st_mode) {
                throw refuse("is a \(kind), expected a file name")
            }
            if existing == .refuse { throw refuse("exists already; 'overwrite' replaces it") }
        } else if errno != ENOENT {
            throw .writing(path, errno)
        }
    }

    /// The same for bytes that are written one after the other, which may go to standard output.
    ///
    /// - Throws: also `FileError.inaccessible` (64) where that is a terminal, (74) where it is closed.
    public static func checkStream(_ path: String, existing: ExistingFile) throws(FileError) {
        if path != StandardOutput.name { return try check(path, existing: existing) }
        func refuse(_ reason: String, _ kind: FailureKind) -> FileError {
            .inaccessible(path: StandardOutput.shown(path), reason: reason, kind: kind)
        }
        let flags = fcntl(STDOUT_FILENO, F_GETFL)
        if flags < 0 || flags & O_ACCMODE == O_RDONLY { throw refuse("is closed", .ioError) }
        if isatty(STDOUT_FILENO) == 1 { throw refuse("is a terminal; expected a file or another program", .usage) }
    }

    /// Syncs a finished temporary file and gives it its name; on failure it is removed.
    public static func commit(
        temporary: String, to path: String, existing: ExistingFile
    ) throws(FileError) {
        let descriptor = open(temporary, O_RDONLY | O_CLOEXEC)
        var code: Int32 = descriptor < 0 ? errno : 0
        if descriptor >= 0 {
            if fsync(descriptor) != 0 { code = errno }
            close(descriptor)
        }
        if code != 0 {
            unlink(temporary)
            throw .writing(path, code)
        }
        try rename(temporary, to: path, existing: existing)
    }

    /// Gives a file another name, in the same folder.
    package static func move(_ path: String, to other: String) throws(FileError) {
        if VditFiles.rename(path, other) != 0 { throw .writing(path, errno) }
        try syncFolder(of: other)
    }

    private static func create(_ temporary: String) -> Int32 {
        while true {
            let flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW
            let descriptor = open(temporary, flags, 0o666)
            if descriptor >= 0 || errno != EINTR { return descriptor }
        }
    }

    private static func rename(
        _ temporary: String, to path: String, existing: ExistingFile
    ) throws(FileError) {
        do throws(FileError) {
            // Again, for what may have appeared since the first check.
            try check(path, existing: existing)
            if existing == .confirm, FilePath.exists(path) {
                guard try InputFile.isSame(temporary, path) else {
                    throw .inaccessible(
                        path: path, reason: "exists already, with another content; 'overwrite' replaces it",
                        kind: .cannotCreate)
                }
                unlink(temporary)
                return
            }
            // A link, unlike a rename, refuses an existing target even in the last moment.
            if existing != .replace && link(temporary, path) == 0 {
                unlink(temporary)
            } else if existing != .replace && errno == EEXIST {
                throw .inaccessible(
                    path: path, reason: "was created by somebody else meanwhile", kind: .cannotCreate)
            } else if VditFiles.rename(temporary, path) != 0 {
                throw .writing(path, errno)
            }
        } catch {
            unlink(temporary)
            throw error
        }
        try syncFolder(of: path)
    }

    private static func syncFolder(of path: String) throws(FileError) {
        let directory = open(FilePath.split(path).directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if directory < 0 { return }  // writable but not readable: nothing to sync through
        defer { close(directory) }
        if fsync(directory) != 0 && errno != EINVAL { throw .writing(path, errno) }
    }
}
