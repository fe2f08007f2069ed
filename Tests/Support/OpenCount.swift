import Glibc

/// Counts how often files and folders are opened, by anybody, from now on.
public final class OpenCount {
    private let descriptor = inotify_init1(Int32(IN_NONBLOCK))
    private var folders: [Int32: String] = [:]

    /// - Parameter folders: whose files, and which themselves, are watched.
    public init(_ folders: [String]) {
        for folder in folders { self.folders[inotify_add_watch(descriptor, folder, UInt32(IN_OPEN))] = folder }
    }

    deinit { close(descriptor) }

    /// By path, since the count began or was last asked for.
    public func opened() -> [String: Int] {
        var counts: [String: Int] = [:]
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while case let count = read(descriptor, &buffer, buffer.count), count > 0 {
            buffer.withUnsafeBytes { bytes in
                var place = 0
                while place < count {
                    let event = bytes.loadUnaligned(fromByteOffset: place, as: inotify_event.self)
                    let name = bytes[(place + MemoryLayout<inotify_event>.size)...].prefix(Int(event.len))
                    let text = String(decoding: name.prefix { $0 != 0 }, as: UTF8.self)
                    counts["\(folders[event.wd] ?? "")/\(text)", default: 0] += 1
                    place += MemoryLayout<inotify_event>.size + Int(event.len)
                }
            }
        }
        return counts
    }
}
