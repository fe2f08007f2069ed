import Glibc
import VditFiles

/// Memory that tensors share. Freed with the last tensor that views it.
///
/// `@unchecked Sendable`: the pointer never changes; concurrent writers are kept to disjoint rows by the
/// code that hands out views (see `WorkPool`).
public final class Storage: @unchecked Sendable {
    let base: UnsafeMutableRawPointer
    public let byteCount: Int
    private let release: (@Sendable (UnsafeMutableRawPointer, Int) -> Void)?

    /// Zeroed memory, aligned to 64 bytes, a page or a large page. Large blocks come from `mmap` and go back to the
    /// system when freed.
    init(byteCount: Int) {
        self.byteCount = byteCount
        let size = max(64, (byteCount + 63) & ~63)
        if size >= 1 << 20 {
            base = Self.map(size)
            release = { pointer, _ in munmap(pointer, size) }
        } else {
            var pointer: UnsafeMutableRawPointer?
            if posix_memalign(&pointer, 64, size) != 0 { outOfMemory(size) }
            base = pointer!
            memset(base, 0, size)
            release = { pointer, _ in free(pointer) }
        }
    }

    /// Zeroed memory of the system, which takes it in large pages where whole ones fit: finding and mapping a small one
    /// takes as long as clearing it. What is as large as one begins where one can; what is mapped around it is let go.
    private static func map(_ size: Int) -> UnsafeMutableRawPointer {
        let largePage = 2 << 20
        let spare = size >= largePage ? largePage : 0
        let mapped = mmap(nil, size + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let mapped, mapped != MAP_FAILED else { outOfMemory(size) }
        if spare == 0 { return mapped }
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        let start = mapped.alignedUp(toMultipleOf: largePage)
        let end = (start + size).alignedUp(toMultipleOf: page)
        if start > mapped { munmap(mapped, start - mapped) }
        if mapped + size + spare > end { munmap(end, mapped + size + spare - end) }
        madvise(start, size, MADV_HUGEPAGE)
        return start
    }

    /// Borrows memory that somebody else owns; `release` is called with the last view.
    init(
        base: UnsafeMutableRawPointer, byteCount: Int,
        release: (@Sendable (UnsafeMutableRawPointer, Int) -> Void)?
    ) {
        self.base = base
        self.byteCount = byteCount
        self.release = release
    }

    /// A file's bytes, read only. They stay mapped as long as they are viewed.
    convenience init(_ map: FileMap) {
        if let base = map.base {
            self.init(base: base, byteCount: map.byteCount) { _, _ in withExtendedLifetime(map) {} }
        } else {
            self.init(byteCount: 0)
        }
    }

    deinit { release?(base, byteCount) }
}

/// Ends the process as its memory limit would, but with a line that says so and exit status 71: runs are
/// checked against the limit before they start, and no caller can go on without the memory.
private func outOfMemory(_ bytes: Int) -> Never {
    let line = "vdit: \(TensorError.outOfMemory(bytes: bytes))\n"
    _ = line.utf8.withContiguousStorageIfAvailable { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    _exit(FailureKind.osError.rawValue)
}

/// A dense row-major array of any rank. Copies and views share their storage, as in PyTorch.
public struct Tensor: Sendable {
    public let dtype: DType
    /// Extents, outermost first. Empty for a scalar.
    public let shape: [Int]
    public let storage: Storage
    /// Bytes from the storage's start to the first element.
    let byteOffset: Int

    /// A zeroed tensor. Shapes are our own: a negative extent or an overflow is a precondition.
    public init(_ dtype: DType, _ shape: [Int]) {
        let count = shape.reduce(1) { $0 * $1 }
        self.init(
            dtype, shape, storage: Storage(byteCount: count * dtype.byteCount), byteOffset: 0)
    }

    init(_ dtype: DType, _ shape: [Int], storage: Storage, byteOffset: Int) {
        self.dtype = dtype
        self.shape = shape
        self.storage = storage
        self.byteOffset = byteOffset
        precondition(byteOffset >= 0 && byteOffset + byteCount <= storage.byteCount)
    }

    public init(_ values: [Float], shape: [Int]? = nil) {
        self.init(.f32, shape ?? [values.count])
        precondition(count == values.count)
        values.withUnsafeBytes { bytes in
            if let source = bytes.baseAddress { memcpy(rawPointer, source, bytes.count) }
        }
    }

    /// Number of elements.
    public var count: Int { shape.reduce(1, *) }
    public var byteCount: Int { count * dtype.byteCount }
    public var rank: Int { shape.count }
    /// Extent of the last axis (1 for a scalar).
    public var columns: Int { shape.last ?? 1 }
    /// Product of all extents but the last.
    public var rowCount: Int { shape.dropLast().reduce(1, *) }

    /// The door to C: the first element. Valid while a tensor sharing this storage lives.
    @unsafe public var rawPointer: UnsafeMutableRawPointer { storage.base + byteOffset }

    @unsafe public func pointer<T>(as type: T.Type) -> UnsafeMutablePointer<T> {
        precondition(MemoryLayout<T>.stride == dtype.byteCount, "\(T.self) is not \(dtype)")
        return rawPointer.assumingMemoryBound(to: T.self)
    }

    public func withFloats<R, E: Error>(
        _ body: (UnsafeBufferPointer<Float>) throws(E) -> R
    ) throws(E) -> R {
        precondition(dtype == .f32)
        return try body(UnsafeBufferPointer(start: pointer(as: Float.self), count: count))
    }

    public func withMutableFloats<R, E: Error>(
        _ body: (UnsafeMutableBufferPointer<Float>) throws(E) -> R
    ) throws(E) -> R {
        precondition(dtype == .f32)
        return try body(UnsafeMutableBufferPointer(start: pointer(as: Float.self), count: count))
    }

    public func withBytes<R, E: Error>(
        _ body: (UnsafeRawBufferPointer) throws(E) -> R
    ) throws(E) -> R {
        try body(UnsafeRawBufferPointer(start: rawPointer, count: byteCount))
    }
}

extension Tensor {
    /// The same elements under another shape of equal count.
    public func reshaped(_ shape: [Int]) -> Tensor {
        precondition(shape.reduce(1, *) == count, "\(self.shape) cannot become \(shape)")
        return Tensor(dtype, shape, storage: storage, byteOffset: byteOffset)
    }

    /// Elements `range` of the first axis, as a view.
    public func slice(_ range: Range<Int>) -> Tensor {
        precondition(rank >= 1 && range.lowerBound >= 0 && range.upperBound <= shape[0])
        let stride = shape.dropFirst().reduce(1, *) * dtype.byteCount
        return Tensor(
            dtype, [range.count] + shape.dropFirst(), storage: storage,
            byteOffset: byteOffset + range.lowerBound * stride)
    }

    /// Element `index` of the first axis, as a view of one rank less.
    public subscript(_ index: Int) -> Tensor {
        let view = slice(index..<index + 1)
        return view.reshaped(Array(view.shape.dropFirst()))
    }

    /// A copy in storage of its own.
    public func copy() -> Tensor {
        let result = Tensor(dtype, shape)
        memcpy(result.rawPointer, rawPointer, byteCount)
        return result
    }

    /// Copies another tensor's elements here; dtype and count must agree.
    public func assign(_ other: Tensor) {
        precondition(dtype == other.dtype && count == other.count)
        memmove(rawPointer, other.rawPointer, byteCount)
    }

    /// Sets every byte.
    public func fill(byte: UInt8) { memset(rawPointer, Int32(byte), byteCount) }

    /// The elements as fp32 values, whatever the dtype.
    public func floats() -> [Float] {
        let source = dtype == .f32 ? self : converted(to: .f32)
        return source.withFloats { Array($0) }
    }
}
