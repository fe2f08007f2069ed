import VditFiles

/// What a header says about one tensor.
public struct TensorInfo: Sendable, Equatable {
    public let name: String
    /// As written in the file: also types that `DType` lacks (`F8_E4M3`, `C64`, `Q4_K`, …).
    public let dtypeName: String
    public let shape: [Int]
    /// Its bytes, counted from the start of the file.
    public let byteRange: Range<Int>

    /// nil for a type we cannot compute with.
    public var dtype: DType? { DType(rawValue: dtypeName) }
    /// nil for types whose elements lie one by one, integers aside.
    public var format: BlockFormat? { BlockFormat(rawValue: dtypeName) }
    /// Whether it holds, or stands for, floating-point values.
    public var isWeight: Bool { dtype?.isFloatingPoint ?? false || format != nil }
}

/// A file of tensors that was opened and checked completely. Its tensors are views of the mapped bytes.
public protocol TensorFile: Sendable {
    var content: TensorFileContent { get }
}

/// What files of tensors have in common, whatever their format.
public struct TensorFileContent: Sendable {
    let path: String
    let metadata: [String: String]
    let tensors: [TensorInfo]
    private let index: [String: Int]
    fileprivate let storage: Storage
    fileprivate let map: FileMap?
    fileprivate let ahead: ReadAhead?
    fileprivate let headerRange: Range<Int>
    /// Whether numbers are looked at when they are read: no tool that wrote such a file has.
    fileprivate let checksNumbers: Bool

    /// - Parameter map: nil for bytes in memory.
    /// - Throws: `FileError.malformed` for a name that is there twice.
    init(
        path: String, metadata: [String: String], tensors: [TensorInfo], header: Range<Int>, storage: Storage,
        map: FileMap?, checksNumbers: Bool = false
    ) throws(FileError) {
        (self.path, self.metadata, self.tensors) = (path, metadata, tensors)
        (headerRange, self.storage, self.map, self.checksNumbers) = (header, storage, map, checksNumbers)
        ahead = map.map(ReadAhead.init)
        var index: [String: Int] = [:]
        index.reserveCapacity(tensors.count)
        for (position, tensor) in tensors.enumerated() {
            if index.updateValue(position, forKey: tensor.name) != nil {
                throw SafetensorsHeader.duplicate("tensor \(tensor.name.shortened)", path)
            }
        }
        self.index = index
    }

    fileprivate func info(_ name: String) -> TensorInfo? { index[name].map { tensors[$0] } }
}

extension TensorFile {
    public var path: String { content.path }
    public var metadata: [String: String] { content.metadata }
    /// All tensors, in the order of their bytes.
    public var tensors: [TensorInfo] { content.tensors }
    /// Names in the order of the tensors' bytes.
    public var names: [String] { tensors.map(\.name) }

    public func info(_ name: String) -> TensorInfo? { content.info(name) }

    /// A tensor as a read-only view of the file, or as a copy where its bytes are not aligned to its type.
    ///
    /// - Throws: `TensorError.absent`, or `.mismatch` for a type or a shape we cannot hold; for GGUF also
    ///   `FileError.malformed` for NaN and infinities.
    public func tensor(_ name: String) throws(TensorError) -> Tensor {
        let info = try known(name)
        guard let dtype = info.dtype else {
            throw .mismatch(
                tensor: name, found: "dtype \(info.dtypeName)",
                expected: "one of " + DType.allCases.map(\.rawValue).joined(separator: ", "))
        }
        // The header's check covers the product in order; views also multiply what follows a zero.
        var extent = dtype.byteCount
        for count in info.shape where count > 0 {
            let (product, overflow) = extent.multipliedReportingOverflow(by: count)
            if overflow {
                throw .mismatch(tensor: name, found: "shape \(info.shape)", expected: "extents below 2^63 bytes")
            }
            extent = product
        }
        let start = info.byteRange.lowerBound
        let tensor: Tensor
        if start % dtype.byteCount == 0 {
            tensor = Tensor(dtype, info.shape, storage: content.storage, byteOffset: start)
        } else {
            tensor = Tensor(dtype, info.shape)
            tensor.rawPointer.copyMemory(from: content.storage.base + start, byteCount: info.byteRange.count)
        }
        if content.checksNumbers { try tensor.checkFinite(name, of: path) }
        return tensor
    }

    /// A tensor's bytes as they lie in the file, `[bytes]` u8.
    ///
    /// - Throws: `TensorError.absent`.
    func bytes(_ name: String) throws(TensorError) -> Tensor {
        let range = try known(name).byteRange
        return Tensor(.u8, [range.count], storage: content.storage, byteOffset: range.lowerBound)
    }

    private func known(_ name: String) throws(TensorError) -> TensorInfo {
        guard let info = info(name) else {
            throw .absent(path: path, tensor: name, present: tensors.prefix(10).map(\.name))
        }
        return info
    }

    /// Gives a tensor's memory back, once its values have been packed elsewhere. Its views stay valid.
    public func release(_ name: String) {
        if let info = info(name) { content.ahead?.release(info.byteRange) }
    }

    /// Has the system begin to read a tensor that is wanted soon, and what follows it.
    public func prefetch(_ name: String) {
        if let info = info(name) { content.ahead?.want(info.byteRange) }
    }

    /// - Throws: `FileError.inaccessible` when the file changed since it was opened.
    public func verifyUnchanged() throws(FileError) { try content.map?.verifyUnchanged() }

    /// Size of the file.
    public var byteCount: Int { content.storage.byteCount }

    /// The header's bytes, for fingerprints.
    public var header: [UInt8] {
        Array(UnsafeRawBufferPointer(start: content.storage.base, count: byteCount)[content.headerRange])
    }
}
