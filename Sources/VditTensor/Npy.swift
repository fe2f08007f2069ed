import VditFiles

/// NumPy's `.npy` arrays: little-endian, row-major, plain numbers.
///
/// - Source: NumPy's format description, versions 1 to 3.
public enum Npy {
    /// Reads an array; its values are a read-only view of the file where they are aligned.
    ///
    /// - Throws: `FileError.missing`, `.inaccessible`, `.malformed`, or `.refused` with what to do for
    ///   Fortran order, big-endian numbers and Python objects.
    public static func read(_ path: String) throws(FileError) -> Tensor {
        let file = try InputFile(path)
        let start = try file.read(0..<min(12, file.byteCount))
        guard start.count >= 10, start[0] == 0x93, start[1..<6].elementsEqual("NUMPY".utf8) else {
            throw .malformed(
                path: path, field: "start", found: "other bytes", expected: "the magic of an .npy file")
        }
        guard (1...3).contains(start[6]), start[7] == 0, start[6] == 1 || start.count == 12 else {
            throw .malformed(
                path: path, field: "version", found: "\(start[6]).\(start[7])", expected: "1.0, 2.0 or 3.0")
        }
        let lengthBytes = start[6] == 1 ? 2 : 4
        let length = (0..<lengthBytes).reduce(0) { $0 | Int(start[8 + $1]) << (8 * $1) }
        let data = 8 + lengthBytes + length
        if length > 65_536 || data > file.byteCount {
            throw .malformed(
                path: path, field: "header length", found: "\(length) bytes",
                expected: "at most 65536, inside the file")
        }
        var parser = NpyHeader(bytes: try file.read(8 + lengthBytes..<data), path: path)
        let (dtype, shape) = try parser.parse()
        var size = dtype.byteCount
        for extent in shape {
            let (product, overflow) = size.multipliedReportingOverflow(by: extent)
            if overflow {
                throw .malformed(
                    path: path, field: "shape", found: "\(shape)", expected: "a size that fits 63 bits")
            }
            size = product
        }
        if size != file.byteCount - data {
            throw .malformed(
                path: path, field: "size", found: "\(file.byteCount - data) bytes of data",
                expected: "\(size) for \(dtype.rawValue) \(shape)")
        }
        if data % dtype.byteCount == 0 {
            return Tensor(dtype, shape, storage: Storage(try FileMap(file)), byteOffset: data)
        }
        let tensor = Tensor(dtype, shape)
        try file.read(data..<file.byteCount).withUnsafeBytes { bytes in
            if let base = bytes.baseAddress {
                tensor.rawPointer.copyMemory(from: base, byteCount: bytes.count)
            }
        }
        return tensor
    }

    /// Writes an array of any type but BF16, which NumPy lacks.
    ///
    /// - Throws: `TensorError.file` when the file cannot be created or written, `.mismatch` for BF16.
    public static func write(
        _ tensor: Tensor, to path: String, existing: ExistingFile
    ) throws(TensorError) {
        guard let descriptor = NpyHeader.descriptors.first(where: { $0.value == tensor.dtype })?.key else {
            throw .mismatch(
                tensor: path, found: "dtype \(tensor.dtype.rawValue)", expected: "a type NumPy has, such as F32")
        }
        let axes = tensor.shape.map(String.init).joined(separator: ", ")
        let extents = tensor.rank == 1 ? axes + "," : axes
        var header = "{'descr': '\(descriptor)', 'fortran_order': False, 'shape': (\(extents)), }"
        let padding = 63 - (10 + header.utf8.count) % 64
        header += String(repeating: " ", count: padding) + "\n"
        var bytes: [UInt8] = [0x93] + Array("NUMPY".utf8) + [1, 0]
        bytes += [UInt8(header.utf8.count & 0xff), UInt8(header.utf8.count >> 8 & 0xff)]
        let start = bytes + Array(header.utf8)
        try fileWork { () throws(FileError) in
            let file = try AtomicFile(path, existing: existing)
            try file.write(start)
            try tensor.withBytes { (bytes) throws(FileError) in try file.write(bytes) }
            try file.commit()
        }
    }
}

/// The header's Python dictionary, of which exactly one form is understood: three known keys, a string, a
/// truth value and a tuple of numbers.
struct NpyHeader {
    static let descriptors: [String: DType] = [
        "<f8": .f64, "<f4": .f32, "<f2": .f16, "<i8": .i64, "<i4": .i32, "<i2": .i16, "|i1": .i8,
        "<u8": .u64, "<u4": .u32, "<u2": .u16, "|u1": .u8, "|b1": .bool,
    ]

    let bytes: [UInt8]
    let path: String
    private var position = 0

    init(bytes: [UInt8], path: String) {
        self.bytes = bytes
        self.path = path
    }

    mutating func parse() throws(FileError) -> (DType, [Int]) {
        var dtype: DType?
        var fortran: Bool?
        var shape: [Int]?
        try expect("{")
        while !take("}") {
            let key = try string()
            try expect(":")
            switch key {
            case "descr" where dtype == nil: dtype = try type()
            case "fortran_order" where fortran == nil: fortran = try truth()
            case "shape" where shape == nil: shape = try tuple()
            default: throw unexpected("descr, fortran_order and shape, each once")
            }
            if !take(",") {
                try expect("}")
                break
            }
        }
        skipSpace()
        if position < bytes.count { throw unexpected("its end") }
        guard let dtype, let fortran, let shape else {
            throw unexpected("descr, fortran_order and shape")
        }
        if fortran {
            throw .refused(
                path: path, found: "array in Fortran order", advice: "save numpy.ascontiguousarray(a)")
        }
        return (dtype, shape)
    }

    private mutating func type() throws(FileError) -> DType {
        skipSpace()
        if position < bytes.count, bytes[position] == UInt8(ascii: "[") {
            throw .refused(path: path, found: "structured array", advice: "save a plain array of float32")
        }
        let descriptor = try string()
        if let dtype = Self.descriptors[descriptor] { return dtype }
        if descriptor.contains("O") {
            throw .refused(
                path: path, found: "array of Python objects",
                advice: "they can run code; save a plain array of float32")
        }
        if descriptor.hasPrefix(">") {
            throw .refused(
                path: path, found: "big-endian array (\(descriptor))", advice: "save a.astype('<f4')")
        }
        throw .refused(
            path: path, found: "array of type '\(descriptor.shortened)'",
            advice: "save a.astype('float32')")
    }

    private mutating func truth() throws(FileError) -> Bool {
        if take("True") { return true }
        if take("False") { return false }
        throw unexpected("True or False")
    }

    private mutating func tuple() throws(FileError) -> [Int] {
        var extents: [Int] = []
        try expect("(")
        while !take(")") {
            if extents.count == SafetensorsHeader.maxRank {
                throw unexpected("at most \(SafetensorsHeader.maxRank) axes")
            }
            extents.append(try integer())
            if !take(",") {
                // (3) is a number in Python, (3,) a tuple.
                if extents.count == 1 { throw unexpected("a comma") }
                try expect(")")
                break
            }
        }
        return extents
    }

    private mutating func integer() throws(FileError) -> Int {
        skipSpace()
        let digits = bytes[position...].prefix { (0x30...0x39).contains($0) }
        guard let value = Int(String(decoding: digits, as: UTF8.self)) else {
            throw unexpected("a number below 2^63")
        }
        position += digits.count
        return value
    }

    private mutating func string() throws(FileError) -> String {
        skipSpace()
        guard position < bytes.count, bytes[position] == 0x27 || bytes[position] == 0x22 else {
            throw unexpected("a string")
        }
        let content = bytes[(position + 1)...].prefix { $0 != bytes[position] }
        if content.endIndex == bytes.count || content.contains(where: { $0 < 0x20 || $0 == 0x5c || $0 > 0x7e }) {
            throw unexpected("a plain string")
        }
        position = content.endIndex + 1
        return String(decoding: content, as: UTF8.self)
    }

    private mutating func take(_ text: String) -> Bool {
        skipSpace()
        guard bytes[position...].starts(with: text.utf8) else { return false }
        position += text.utf8.count
        return true
    }

    private mutating func expect(_ text: String) throws(FileError) {
        if !take(text) { throw unexpected("'\(text)'") }
    }

    private mutating func skipSpace() {
        while position < bytes.count, bytes[position] == 0x20 || bytes[position] == 0x0a { position += 1 }
    }

    private func unexpected(_ expected: String) -> FileError {
        let rest = String(decoding: bytes[position...].prefix(20), as: UTF8.self)
        return .malformed(
            path: path, field: "header at byte \(position)", found: rest.isEmpty ? "its end" : "'\(rest)'",
            expected: expected)
    }
}
