import Dispatch
import Synchronization
import VditFiles

/// Reads a file ahead of who takes its tensors one after the other, on a thread of its own, so that the disk works
/// while they are packed.
///
/// Files have the tensors of a layer side by side, and mostly in the order they are wanted in. What is read too early
/// is a part of a later layer.
final class ReadAhead: Sendable {
    private let map: FileMap
    private let queue = DispatchQueue(label: "read ahead")
    /// Regions that are wanted or were read, and that nobody has given back since.
    let asked = Mutex<Set<Int>>([])
    private static let regionBytes = 8 << 20
    /// Beyond what is wanted now: 128 MB, which is 50 ms of a disk of 2.5 GB/s and longer than packing a matrix takes.
    private static let regionsAhead = 16

    init(_ map: FileMap) { self.map = map }

    /// Bytes `range` are wanted soon, and what follows them next.
    func want(_ range: Range<Int>) {
        if range.isEmpty { return }
        let last = (range.upperBound - 1) / Self.regionBytes + Self.regionsAhead
        let wanted = range.lowerBound / Self.regionBytes...min(last, (map.byteCount - 1) / Self.regionBytes)
        let new = asked.withLock { asked in wanted.filter { asked.insert($0).inserted } }
        guard let first = new.first, let end = new.last else { return }
        map.expect(first * Self.regionBytes..<(end + 1) * Self.regionBytes)
        for region in new {
            queue.async { [self] in
                // Who was faster than the disk has read it himself.
                if !asked.withLock({ $0.contains(region) }) { return }
                map.prefetch(region * Self.regionBytes..<(region + 1) * Self.regionBytes)
            }
        }
    }

    /// Gives the memory of bytes `range` back, and has regions that end there read anew for who wants them again.
    func release(_ range: Range<Int>) {
        map.release(range)
        let ended = range.lowerBound / Self.regionBytes..<range.upperBound / Self.regionBytes
        asked.withLock { $0.subtract(ended) }
    }
}
