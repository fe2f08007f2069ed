import VditFiles

/// A safetensors file. Opening it checks it completely; its tensors are views of the mapped file.
public final class SafetensorsReader: Sendable {
    public let path: String
    public let metadata: [String: String]
    /// All tensors, in the order of their bytes.
    public let tensors: [TensorInfo]
    private let index: [String: Int]
    private let storage: Storage
    private let map: FileMap?
    private let headerRange: Range<Int>

    /// Opens a file.
    ///
    /// - Throws: `FileError.missing`, `.inaccessible`, `.malformed` with the field at fault, or `.refused`
    ///   for a Git LFS pointer, a web page, a pickle, a zip or a GGUF file.
    public convenience init(_ path: String) throws(FileError) {
        let file = try InputFile(path)
        let range = try SafetensorsHeader.range(
            start: file.read(0..<min(64, file.byteCount)), fileByteCount: file.byteCount, path: path)
        let header = try SafetensorsHeader(
            json: file.read(range), data: range.upperBound..<file.byteCount, path: path)
        let map = try FileMap(file)
        try self.init(path: path, header: header, range: range, storage: Storage(map), map: map)
    }

    /// Reads a file's bytes from memory; `name` stands for the path in errors.
    public convenience init(bytes: [UInt8], name: String) throws(FileError) {
        let range = try SafetensorsHeader.range(
            start: Array(bytes.prefix(64)), fileByteCount: bytes.count, path: name)
        let header = try SafetensorsHeader(
            json: Array(bytes[range]), data: range.upperBound..<bytes.count, path: name)
        let storage = Storage(byteCount: bytes.count)
        bytes.withUnsafeBytes { storage.base.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        try self.init(path: name, header: header, range: range, storage: storage, map: nil)
    }

    private init(
        path: String, header: SafetensorsHeader, range: Range<Int>, storage: Storage, map: FileMap?
    ) throws(FileError) {
        self.path = path
        metadata = header.metadata
        tensors = header.tensors
        headerRange = range
        self.storage = storage
        self.map = map
        var index: [String: Int] = [:]
        index.reserveCapacity(header.tensors.count)
        for (position, tensor) in header.tensors.enumerated() {
            if index.updateValue(position, forKey: tensor.name) != nil {
                throw SafetensorsHeader.duplicate("tensor \(tensor.name.shortened)", path)
            }
        }
        self.index = index
    }

    /// Names in the order of the tensors' bytes.
    public var names: [String] { tensors.map(\.name) }

    public func info(_ name: String) -> TensorInfo? { index[name].map { tensors[$0] } }

    /// A tensor as a read-only view of the file, or as a copy where its bytes are not aligned to its type.
    ///
    /// - Throws: `TensorError.absent`, or `.mismatch` for a type or a shape we cannot hold.
    public func tensor(_ name: String) throws(TensorError) -> Tensor {
        guard let info = info(name) else {
            throw .absent(path: path, tensor: name, present: tensors.prefix(10).map(\.name))
        }
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
        if start % dtype.byteCount == 0 {
            return Tensor(dtype, info.shape, storage: storage, byteOffset: start)
        }
        let copy = Tensor(dtype, info.shape)
        copy.rawPointer.copyMemory(from: storage.base + start, byteCount: info.byteRange.count)
        return copy
    }

    /// Gives a tensor's memory back, once its values have been packed elsewhere. Its views stay valid.
    public func release(_ name: String) {
        if let info = info(name) { map?.release(info.byteRange) }
    }

    /// Has the system begin to read a tensor that is wanted soon.
    public func prefetch(_ name: String) {
        if let info = info(name) { map?.prefetch(info.byteRange) }
    }

    /// - Throws: `FileError.inaccessible` when the file changed since it was opened.
    public func verifyUnchanged() throws(FileError) { try map?.verifyUnchanged() }

    /// Size of the file.
    public var byteCount: Int { storage.byteCount }

    /// The header's JSON text, for fingerprints.
    public var header: [UInt8] {
        Array(UnsafeRawBufferPointer(start: storage.base, count: storage.byteCount)[headerRange])
    }
}
