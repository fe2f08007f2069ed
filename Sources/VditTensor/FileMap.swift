import Glibc

/// A regular file mapped into memory, read only. Tensors that view it keep it mapped.
///
/// Writing to such a view is a fault, as is reading one after another process has cut the file short: see
/// `verifyUnchanged`.
public final class FileMap: Sendable {
    public let path: String
    public let byteCount: Int
    let storage: Storage
    private let identity: InputFile.Identity

    /// - Throws: `TensorError.missing` or `.inaccessible`; directories, FIFOs and devices are refused.
    public convenience init(_ path: String) throws(TensorError) {
        try self.init(InputFile(path))
    }

    init(_ file: borrowing InputFile) throws(TensorError) {
        path = file.path
        byteCount = file.byteCount
        identity = file.identity
        if file.byteCount == 0 {
            storage = Storage(byteCount: 0)
            return
        }
        guard
            let base = mmap(nil, file.byteCount, PROT_READ, MAP_PRIVATE, file.descriptor, 0),
            base != MAP_FAILED
        else { throw .reading(file.path, errno) }
        storage = Storage(base: base, byteCount: file.byteCount) { munmap($0, $1) }
    }

    /// Gives the memory of bytes `range` back. Later reads fetch them from the file again.
    public func release(_ range: Range<Int>) {
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        let range = range.clamped(to: 0..<byteCount)
        if range.isEmpty { return }
        let start = range.lowerBound / page * page
        madvise(storage.base + start, range.upperBound - start, MADV_DONTNEED)
    }

    /// - Throws: `TensorError.inaccessible` when the file was replaced, rewritten or cut short since it was
    ///   opened.
    public func verifyUnchanged() throws(TensorError) {
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
