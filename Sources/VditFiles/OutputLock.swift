import Glibc

/// Says that a process is at work on an output, from its first step on: of two, one would work for nothing.
///
/// An advisory lock of a hidden file beside the output. The system lets go of it when its holder ends, however that
/// ends; the file of one that was killed is taken over by the next, and goes with it. Where the file system knows no
/// locks, nobody is kept out.
package final class OutputLock {
    private let path: String
    private let descriptor: Int32

    /// - Throws: `FileError.inaccessible` (75) where another process is at work on the output, here or, on file systems
    ///   that tell, on another machine.
    package init(_ output: String) throws(FileError) {
        path = Self.path(of: output)
        while true {
            let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o666)
            if descriptor < 0 {
                if errno == EINTR { continue }
                throw .writing(output, errno)
            }
            if flock(descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK {
                close(descriptor)
                throw .inaccessible(path: output, reason: "another process is making it", kind: .temporary)
            }
            // Its last holder may have removed the file meanwhile.
            var (own, there) = (stat(), stat())
            if fstat(descriptor, &own) == 0, lstat(path, &there) == 0, own.st_ino == there.st_ino {
                self.descriptor = descriptor
                return
            }
            close(descriptor)
        }
    }

    private static func path(of output: String) -> String {
        let (directory, name) = FilePath.split(output)
        return "\(directory)/.\(PartFile.stem(of: name)).lock"
    }

    /// Removes the file that a process which was killed left beside an output that is complete.
    package static func clear(_ output: String) {
        if FilePath.exists(path(of: output)) { _ = try? OutputLock(output) }
    }

    deinit {
        unlink(path)
        close(descriptor)
    }
}
