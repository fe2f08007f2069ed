import Glibc

/// A regular file mapped into memory, read only, for as long as somebody holds the map.
///
/// Writing there is a fault, as is reading after another process has cut the file short: see `verifyUnchanged`.
///
/// `@unchecked Sendable`: the memory is only read, and its place never changes.
package final class FileMap: @unchecked Sendable {
    let path: String
    package let byteCount: Int
    /// nil for an empty file.
    package let base: UnsafeMutableRawPointer?
    private let identity: InputFile.Identity

    package init(_ file: borrowing InputFile) throws(FileError) {
        path = file.path
        byteCount = file.byteCount
        identity = file.identity
        if file.byteCount == 0 {
            base = nil
            return
        }
        guard
            let mapped = mmap(nil, file.byteCount, PROT_READ, MAP_PRIVATE, file.descriptor, 0),
            mapped != MAP_FAILED
        else { throw .reading(file.path, errno) }
        base = mapped
        MappedFiles.add(mapped, byteCount, file.path)
    }

    deinit {
        guard let base else { return }
        MappedFiles.remove(base)
        munmap(base, byteCount)
    }

    /// Gives the memory of bytes `range` back. Later reads fetch them from the file again.
    package func release(_ range: Range<Int>) { advise(range, MADV_DONTNEED) }

    /// Has bytes `range` read in large pages, where the system and the file system have them, whoever reads them first:
    /// small ones take a third of the time of a load to find and to map.
    package func expect(_ range: Range<Int>) { advise(range, MADV_HUGEPAGE) }

    /// Reads bytes `range`, which are wanted soon, into the system's memory; waits until they are there, or where the
    /// system only begins.
    package func prefetch(_ range: Range<Int>) {
        if advise(range, Self.populateForReading) { release(range) } else { advise(range, MADV_WILLNEED) }
    }

    /// `MADV_POPULATE_READ`, of Linux 5.14, whatever the headers are of.
    private static let populateForReading: Int32 = 22

    @discardableResult private func advise(_ range: Range<Int>, _ advice: Int32) -> Bool {
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        let range = range.clamped(to: 0..<byteCount)
        guard let base, !range.isEmpty else { return true }
        let start = range.lowerBound / page * page
        return madvise(base + start, range.upperBound - start, advice) == 0
    }

    /// - Throws: `FileError.inaccessible` when the file was replaced, rewritten or cut short since it was
    ///   opened.
    package func verifyUnchanged() throws(FileError) {
        var status = stat()
        if stat(path, &status) != 0 { throw .reading(path, errno) }
        let now = InputFile.Identity(status)
        if now == identity { return }
        let change =
            now.byteCount == identity.byteCount
            ? "its content was replaced" : "its size went from \(identity.byteCount) to \(now.byteCount) bytes"
        throw .inaccessible(path: path, reason: "changed while in use: \(change)", kind: .ioError)
    }
}
