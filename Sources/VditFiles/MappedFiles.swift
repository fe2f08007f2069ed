import Glibc
import Synchronization

/// Which file an address belongs to: for a handler of SIGBUS, which cannot ask anybody.
///
/// Names are kept where a handler can read them, ready to be printed. What is mapped beyond the table's size is not
/// known by name.
package enum MappedFiles {
    private struct Entry {
        var start: UInt = 0
        var end: UInt = 0
        var name: UnsafeMutablePointer<CChar>?
    }

    private static let capacity = 1024
    // Written under the lock only. A handler reads without it, in a process that ends there.
    nonisolated(unsafe) private static let table: UnsafeMutableBufferPointer<Entry> = {
        let table = UnsafeMutableBufferPointer<Entry>.allocate(capacity: capacity)
        table.initialize(repeating: Entry())
        return table
    }()
    private static let lock = Mutex(())

    static func add(_ base: UnsafeRawPointer, _ byteCount: Int, _ path: String) {
        lock.withLock { _ in
            guard let free = table.firstIndex(where: { $0.end == 0 }) else { return }
            let start = UInt(bitPattern: base)
            table[free] = Entry(start: start, end: start + UInt(byteCount), name: strdup(path.onOneLine))
        }
    }

    static func remove(_ base: UnsafeRawPointer) {
        lock.withLock { _ in
            guard let index = table.firstIndex(where: { $0.end > 0 && $0.start == UInt(bitPattern: base) }) else {
                return
            }
            free(table[index].name)
            table[index] = Entry()
        }
    }

    /// Makes the table: that is not safe inside a handler.
    package static func prepare() { _ = table.count }

    /// The name of the file that is mapped at an address; nil for other memory. Safe in a handler after `prepare`.
    package static func name(at address: UnsafeRawPointer?) -> UnsafePointer<CChar>? {
        let address = UInt(bitPattern: address)
        for index in 0..<capacity where table[index].start <= address && address < table[index].end {
            return UnsafePointer(table[index].name)
        }
        return nil
    }
}
