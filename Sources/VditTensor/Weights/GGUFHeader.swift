import VditFiles

/// The header of a GGUF file, read once and forward; nothing is allocated for a count before it is held against the
/// bytes that are left.
struct GGUFHeader {
    /// Texts and whole numbers that are no list.
    private(set) var metadata: [String: String] = [:]
    /// In the order of their bytes.
    private(set) var tensors: [TensorInfo] = []
    /// Up to the data.
    private(set) var byteCount = 0
    /// Shapes that `comfy.gguf.orig_shape` gives, by tensor.
    private var shapes: [String: [Int]] = [:]
    private var alignment = 32
    private let path: String

    static let versions = 2...3
    private static let maxCount = 65_536
    private static let maxRank = 8
    private static let maxKeptText = 1 << 20
    private static let shapeKey = "comfy.gguf.orig_shape."

    init(_ bytes: UnsafeRawBufferPointer, path: String) throws(FileError) {
        self.path = path
        var cursor = GGUFCursor(bytes, path: path)
        guard try cursor.bytes(4, "magic").elementsEqual("GGUF".utf8) else {
            throw cursor.malformed("magic", "other bytes", "GGUF")
        }
        let version = try cursor.integer(UInt32.self, "version")
        guard Self.versions.contains(Int(version)) else {
            throw cursor.malformed("version", "\(version)", "2 or 3, little-endian")
        }
        // A tensor takes 24 bytes at least, a key 13.
        let tensorCount = try cursor.count("tensor count", atMost: Self.maxCount, bytesOfEach: 24)
        let keyCount = try cursor.count("key count", atMost: Self.maxCount, bytesOfEach: 13)
        var seen: Set<String> = []
        for _ in 0..<keyCount { try readKey(&cursor, &seen) }
        try checkKeys(cursor)
        var infos: [(info: TensorInfo, offset: Int)] = []
        for _ in 0..<tensorCount { infos.append(try readTensor(&cursor)) }
        let start = (cursor.position + alignment - 1) / alignment * alignment
        byteCount = cursor.position
        try place(infos, start: start, fileByteCount: bytes.count, cursor)
    }

    // MARK: Keys

    private mutating func readKey(_ cursor: inout GGUFCursor, _ seen: inout Set<String>) throws(FileError) {
        let key = try cursor.name("key", atMost: 65_535)
        guard seen.insert(key).inserted else { throw cursor.malformed(key.shortened, "two entries", "one") }
        let type = try cursor.integer(UInt32.self, key.shortened)
        switch try value(type, &cursor, key) {
        case .text(let text): metadata[key] = text
        case .whole(let number):
            metadata[key] = "\(number)"
            if key == "general.alignment", type == 4 { alignment = number }
        case .list(let numbers):
            if key.hasPrefix(Self.shapeKey) { shapes[String(key.dropFirst(Self.shapeKey.count))] = numbers }
        case .other: break
        }
        let typed: [(String, UInt32)] = [("general.alignment", 4), ("general.architecture", 8)]
        if let expected = typed.first(where: { $0.0 == key })?.1, type != expected {
            throw cursor.malformed(key, "type \(type)", "type \(expected)")
        }
    }

    private enum Value {
        case text(String)
        case whole(Int)
        case list([Int])
        case other
    }

    private func value(_ type: UInt32, _ cursor: inout GGUFCursor, _ key: String) throws(FileError) -> Value {
        let field = key.shortened
        switch type {
        case 8: return try cursor.text(field, atMost: Self.maxKeptText).map(Value.text) ?? .other
        case 9: return try list(&cursor, key)
        case 7:
            let flag = try cursor.integer(UInt8.self, field)
            if flag > 1 { throw cursor.malformed(field, "a flag of value \(flag)", "0 or 1") }
            return .other
        case 6, 12:
            _ = try cursor.bytes(type == 6 ? 4 : 8, field)
            return .other
        default: return try wholeNumber(type, &cursor, field).map(Value.whole) ?? .other
        }
    }

    /// - Returns: nil for one that is beyond 63 bits.
    private func wholeNumber(_ type: UInt32, _ cursor: inout GGUFCursor, _ field: String) throws(FileError) -> Int? {
        switch type {
        case 0: return Int(try cursor.integer(UInt8.self, field))
        case 1: return Int(try cursor.integer(Int8.self, field))
        case 2: return Int(try cursor.integer(UInt16.self, field))
        case 3: return Int(try cursor.integer(Int16.self, field))
        case 4: return Int(try cursor.integer(UInt32.self, field))
        case 5: return Int(try cursor.integer(Int32.self, field))
        case 10: return Int(exactly: try cursor.integer(UInt64.self, field))
        case 11: return Int(try cursor.integer(Int64.self, field))
        default: throw cursor.malformed(field, "a value of type \(type)", "a type from 0 to 12")
        }
    }

    private static let sizes: [UInt32: Int] = [
        0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 8: 8, 10: 8, 11: 8, 12: 8,
    ]

    private func list(_ cursor: inout GGUFCursor, _ key: String) throws(FileError) -> Value {
        let (field, type) = (key.shortened, try cursor.integer(UInt32.self, key.shortened))
        guard let size = Self.sizes[type] else {
            throw cursor.malformed(field, "a list of elements of type \(type)", "texts, numbers or flags")
        }
        let count = try cursor.count(field, atMost: Int.max, bytesOfEach: size)
        if type == 8 {
            for _ in 0..<count { _ = try cursor.text(field, atMost: 0) }
            return .other
        }
        if key.hasPrefix(Self.shapeKey), type == 5, count <= Self.maxRank {
            var numbers: [Int] = []
            for _ in 0..<count { numbers.append(Int(try cursor.integer(Int32.self, field))) }
            return .list(numbers)
        }
        _ = try cursor.bytes(count * size, field)
        return .other
    }

    private static let video: Set<String> = ["wan", "ltxv", "hyvid", "t5encoder", "t5", "pig", "cow"]

    private func checkKeys(_ cursor: GGUFCursor) throws(FileError) {
        guard (8...65_536).contains(alignment), alignment & (alignment - 1) == 0 else {
            throw cursor.malformed("general.alignment", "\(alignment)", "a power of two from 8 to 65536")
        }
        if let parts = metadata["split.count"].flatMap({ Int($0) }), parts > 1 {
            throw .unsupported(
                path: path, found: "one part of a GGUF file in \(parts)", expected: "the parts merged into one file")
        }
        if let name = metadata["general.architecture"], !Self.video.contains(name) {
            throw .unsupported(
                path: path, found: "a GGUF file of architecture \(name.shortened)",
                expected: "a video transformer (wan, ltxv) or its text encoder (t5encoder)")
        }
    }

    // MARK: Tensors

    private func readTensor(_ cursor: inout GGUFCursor) throws(FileError) -> (info: TensorInfo, offset: Int) {
        let name = try cursor.name("tensor name", atMost: 1023)
        let field = name.shortened
        let rank = try cursor.integer(UInt32.self, field)
        guard (1...UInt32(Self.maxRank)).contains(rank) else {
            throw cursor.malformed(field, "rank \(rank)", "1 to \(Self.maxRank)")
        }
        var (shape, count): ([Int], Int) = ([], 1)
        for _ in 0..<rank {
            let extent = try cursor.integer(UInt64.self, field)
            guard extent >= 1, extent <= 1 << 40 else {
                throw cursor.malformed(field, "a dimension of \(extent)", "1 to 2^40")
            }
            let (product, overflow) = count.multipliedReportingOverflow(by: Int(extent))
            guard !overflow, product < 1 << 46 else {
                throw cursor.malformed(field, "more than 2^46 elements", "fewer")
            }
            (shape, count) = ([Int(extent)] + shape, product)
        }
        let type = try GGUFType(number: try cursor.integer(UInt32.self, field), tensor: field, path: path)
        guard shape[shape.count - 1] % type.elementCount == 0 else {
            throw cursor.malformed(
                field, "\(type.name) rows of \(shape[shape.count - 1])",
                "a multiple of \(type.elementCount), the elements of a block")
        }
        let offset = try cursor.integer(UInt64.self, field)
        guard let offset = Int(exactly: offset), offset % alignment == 0 else {
            throw cursor.malformed(field, "offset \(offset)", "a multiple of \(alignment), the file's alignment")
        }
        if let own = shapes[name] {
            let isWhole = own.allSatisfy { $0 > 0 } && own.reduce(1.0) { $0 * Double($1) } == Double(count)
            // One whose rows cut blocks is of no use.
            if isWhole, let row = own.last, row % type.elementCount == 0 { shape = own }
        }
        let size = count / type.elementCount * type.byteCount
        return (TensorInfo(name: name, dtypeName: type.name, shape: shape, byteRange: 0..<size), offset)
    }

    /// Gives tensors their places in the file.
    private mutating func place(
        _ infos: [(info: TensorInfo, offset: Int)], start: Int, fileByteCount: Int, _ cursor: GGUFCursor
    ) throws(FileError) {
        var end = 0
        for (info, offset) in infos.sorted(by: { $0.offset < $1.offset }) {
            let field = info.name.shortened
            let (upper, overflow) = offset.addingReportingOverflow(info.byteRange.count)
            guard !overflow, upper <= fileByteCount - start else {
                throw cursor.malformed(
                    field, "\(info.byteRange.count) bytes at offset \(offset)",
                    "a place within the \(max(0, fileByteCount - start)) bytes of data")
            }
            guard offset >= end else {
                throw cursor.malformed(field, "offset \(offset)", "\(end) or more, where the tensor before it ends")
            }
            end = upper
            tensors.append(
                TensorInfo(
                    name: info.name, dtypeName: info.dtypeName, shape: info.shape,
                    byteRange: start + offset..<start + upper))
        }
    }
}

/// An element type by its number in a tensor's entry.
private struct GGUFType {
    let name: String
    let elementCount: Int
    let byteCount: Int

    private static let plain: [UInt32: DType] = [0: .f32, 1: .f16, 30: .bf16]
    private static let blocks = Dictionary(
        uniqueKeysWithValues: BlockFormat.allCases.compactMap { format in format.ggufNumber.map { ($0, format) } })
    private static let others: [UInt32: String] = [
        9: "Q8_1", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 21: "IQ3_S", 22: "IQ2_S",
        24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
        40: "NVFP4",
    ]

    init(number: UInt32, tensor: String, path: String) throws(FileError) {
        if let dtype = Self.plain[number] {
            (name, elementCount, byteCount) = (dtype.rawValue, 1, dtype.byteCount)
        } else if let format = Self.blocks[number] {
            (name, elementCount, byteCount) = (format.rawValue, format.elementCount, format.byteCount)
        } else if let other = Self.others[number] {
            throw .unsupported(
                path: path, found: "tensor \(tensor) of type \(other)",
                expected: "Q8_0, Q6_K or another of the types up to Q2_K, or 16- and 32-bit floats")
        } else {
            throw .malformed(path: path, field: tensor, found: "type \(number)", expected: "a type of GGUF")
        }
    }
}
