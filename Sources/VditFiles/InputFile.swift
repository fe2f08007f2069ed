import Glibc

/// A regular file opened for reading. Directories, FIFOs and devices are refused without blocking on them.
package struct InputFile: ~Copyable {
    /// What tells one state of a file from another.
    struct Identity: Sendable, Equatable {
        let device: UInt64
        let inode: UInt64
        let byteCount: Int
        let modifiedSeconds: Int
        let modifiedNanoseconds: Int

        init(_ status: stat) {
            device = UInt64(status.st_dev)
            inode = UInt64(status.st_ino)
            byteCount = Int(status.st_size)
            modifiedSeconds = Int(status.st_mtim.tv_sec)
            modifiedNanoseconds = Int(status.st_mtim.tv_nsec)
        }
    }

    package let path: String
    let descriptor: Int32
    let identity: Identity
    package var byteCount: Int { identity.byteCount }

    /// - Throws: `FileError.missing` or `.inaccessible`.
    package init(_ path: String) throws(FileError) {
        if path.isEmpty { throw .emptyPath("input") }
        // A NUL would silently cut the path that C sees.
        if path.utf8.contains(0) { throw .missing(path: path) }
        var descriptor: Int32
        repeat {
            descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        } while descriptor < 0 && errno == EINTR
        if descriptor < 0 { throw .reading(path, errno) }
        var status = stat()
        if fstat(descriptor, &status) != 0 {
            let code = errno
            close(descriptor)
            throw .reading(path, code)
        }
        if let kind = Self.specialKind(status.st_mode) {
            close(descriptor)
            throw .inaccessible(
                path: path, reason: "is a \(kind), expected a regular file", kind: .missingInput)
        }
        self.path = path
        self.descriptor = descriptor
        identity = Identity(status)
    }

    deinit { close(descriptor) }

    /// What a path is if not a regular file.
    static func specialKind(_ mode: mode_t) -> String? {
        switch mode & S_IFMT {
        case S_IFREG: nil
        case S_IFDIR: "directory"
        case S_IFIFO: "FIFO"
        case S_IFSOCK: "socket"
        default: "device"
        }
    }

    /// Bytes `range` of the file, which must lie inside the size it had when opened.
    ///
    /// - Throws: `FileError.inaccessible` when reading fails or the file has become shorter.
    package func read(_ range: Range<Int>) throws(FileError) -> [UInt8] {
        // Swift's own array would note its count of 0 in the one place that all empty arrays share.
        if range.isEmpty { return [] }
        var failure: FileError?
        let bytes = [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
            do throws(FileError) {
                try read(range, into: UnsafeMutableRawBufferPointer(buffer))
                count = range.count
            } catch { failure = error }
        }
        if let failure { throw failure }
        return bytes
    }

    /// The same into memory of at least as many bytes.
    package func read(_ range: Range<Int>, into buffer: UnsafeMutableRawBufferPointer) throws(FileError) {
        precondition(buffer.count >= range.count)
        var count = 0
        while count < range.count, let base = buffer.baseAddress {
            let got = pread(descriptor, base + count, range.count - count, off_t(range.lowerBound + count))
            if got > 0 {
                count += got
            } else if got == 0 {
                throw .inaccessible(path: path, reason: "became shorter while being read", kind: .ioError)
            } else if errno != EINTR {
                throw .reading(path, errno)
            }
        }
    }

    /// Whether two files hold the same bytes.
    package static func isSame(_ one: String, _ other: String) throws(FileError) -> Bool {
        let one = try InputFile(one)
        let other = try InputFile(other)
        guard one.byteCount == other.byteCount else { return false }
        for start in stride(from: 0, to: one.byteCount, by: 1 << 20) {
            let range = start..<min(start + (1 << 20), one.byteCount)
            if try one.read(range) != other.read(range) { return false }
        }
        return true
    }

    /// The whole of a small file.
    ///
    /// - Throws: also `FileError.malformed` when it is larger than `limit` bytes.
    package static func contents(of path: String, limit: Int) throws(FileError) -> [UInt8] {
        let file = try InputFile(path)
        if file.byteCount > limit {
            throw .malformed(
                path: path, field: "size", found: "\(file.byteCount) bytes",
                expected: "at most \(limit)")
        }
        return try file.read(0..<file.byteCount)
    }
}

extension FileError {
    /// The error of an `errno` met while reading.
    package static func reading(_ path: String, _ code: Int32) -> FileError {
        switch code {
        case ENOENT, ENOTDIR: .missing(path: path)
        case EACCES, EPERM: .inaccessible(path: path, reason: message(code), kind: .permission)
        case ELOOP, ENAMETOOLONG, EISDIR, ENXIO:
            .inaccessible(path: path, reason: message(code), kind: .missingInput)
        case EIO, ESTALE, ETIMEDOUT, ENODEV:
            .inaccessible(path: path, reason: message(code), kind: .ioError)
        default: .inaccessible(path: path, reason: message(code), kind: .osError)
        }
    }

    /// The error of an `errno` met while creating or writing.
    static func writing(_ path: String, _ code: Int32) -> FileError {
        let (reason, kind) = writing(code)
        return .inaccessible(path: path, reason: reason, kind: kind)
    }

    static func writing(_ code: Int32) -> (reason: String, kind: FailureKind) {
        let kind: FailureKind =
            switch code {
            case EACCES, EPERM: .permission
            case ENOSPC, EIO, EDQUOT, EFBIG, ESTALE, EPIPE: .ioError
            case EMFILE, ENFILE, ENOMEM: .osError
            default: .cannotCreate
            }
        return (message(code), kind)
    }

    private static func message(_ code: Int32) -> String {
        guard let text = strerror(code) else { return "error \(code)" }
        let message = String(cString: text)
        return message.prefix(1).lowercased() + message.dropFirst()
    }
}
