import VditFiles

/// The header of a safetensors file, checked completely before anything is allocated for its tensors.
///
/// - Source: the safetensors format text and the official reader (safetensors 0.8.0).
/// - Differs: refuses what the official reader refuses, and also duplicate tensor names, ranks above 8 and
///   names with control characters other than tab and line ends.
struct SafetensorsHeader: Sendable {
    static let maxByteCount = 100_000_000
    static let maxRank = 8

    let metadata: [String: String]
    /// In the order of their bytes.
    let tensors: [TensorInfo]

    /// The header's extent in a file, from the file's first bytes (at least 64 of them, or all).
    ///
    /// - Throws: `FileError.refused` for a recognised other format, otherwise `.malformed`.
    static func range(start: [UInt8], fileByteCount: Int, path: String) throws(FileError) -> Range<Int> {
        var failure: FileError
        if start.count < 8 {
            failure = .malformed(
                path: path, field: "size", found: "\(fileByteCount) bytes",
                expected: "at least 8 (a safetensors file)")
        } else {
            let length = (0..<8).reduce(UInt64(0)) { $0 | UInt64(start[$1]) << UInt64(8 * $1) }
            let opening = start.dropFirst(8).first { ![0x20, 0x09, 0x0a, 0x0d].contains($0) }
            if length < 2 || length > UInt64(min(maxByteCount, fileByteCount - 8)) {
                let most = min(maxByteCount, fileByteCount - 8)
                failure = .malformed(
                    path: path, field: "header length", found: "\(length) bytes in a file of \(fileByteCount)",
                    expected: (most > 2 ? "2 to \(most)" : "at least 2, and a file that holds them")
                        + " (a safetensors file)")
            } else if opening == nil || opening == UInt8(ascii: "{") {
                return 8..<8 + Int(length)
            } else {
                failure = .malformed(
                    path: path, field: "header", found: "first byte \(opening ?? 0)",
                    expected: "'{' (a safetensors file)")
            }
        }
        if let other = ForeignFormat.recognise(start) {
            failure = .refused(path: path, found: other.found, advice: other.advice)
        }
        throw failure
    }

    /// - Parameters:
    ///   - json: the header's bytes.
    ///   - data: the rest of the file.
    init(json: [UInt8], data: Range<Int>, path: String) throws(FileError) {
        var metadata: [String: String]?
        var tensors: [TensorInfo] = []
        var scanner = try JSONScanner(json, path: path, part: "header")
        try scanner.beginObject()
        while let key = try scanner.nextKey() {
            if key == "__metadata__" {
                if metadata != nil { throw Self.duplicate("__metadata__", path) }
                metadata = try Self.metadata(&scanner)
            } else {
                scanner.context = key
                tensors.append(try Self.tensor(key, &scanner, data, path))
                scanner.context = ""
            }
        }
        try scanner.end()
        tensors.sort {
            ($0.byteRange.lowerBound, $0.byteRange.upperBound) < ($1.byteRange.lowerBound, $1.byteRange.upperBound)
        }
        var covered = data.lowerBound
        for tensor in tensors {
            if tensor.byteRange.lowerBound != covered {
                let fault = tensor.byteRange.lowerBound < covered ? "overlap" : "leave a hole"
                throw .malformed(
                    path: path, field: "\(tensor.name.shortened).data_offsets",
                    found: "a start at \(tensor.byteRange.lowerBound - data.lowerBound)",
                    expected: "\(covered - data.lowerBound), where the one before ends (tensors \(fault))")
            }
            covered = tensor.byteRange.upperBound
        }
        if covered != data.upperBound {
            throw .malformed(
                path: path, field: "size", found: "\(data.count) bytes of data",
                expected: "\(covered - data.lowerBound), the end of the last tensor")
        }
        self.metadata = metadata ?? [:]
        self.tensors = tensors
    }

    private static func metadata(_ scanner: inout JSONScanner) throws(FileError) -> [String: String] {
        if try scanner.null() { return [:] }
        var metadata: [String: String] = [:]
        try scanner.beginObject()
        while let key = try scanner.nextKey() { metadata[key] = try scanner.string() }
        return metadata
    }

    private static func tensor(
        _ name: String, _ scanner: inout JSONScanner, _ data: Range<Int>, _ path: String
    ) throws(FileError) -> TensorInfo {
        if name.unicodeScalars.contains(where: isForbidden) {
            throw .malformed(
                path: path, field: "header", found: "tensor name \(name.shortened)",
                expected: "a name without control characters")
        }
        var type: (name: String, bits: Int)?
        var shape: [Int]?
        var offsets: [Int]?
        try scanner.beginObject()
        while let field = try scanner.nextKey() {
            switch field {
            case "dtype":
                if type != nil { throw duplicate("\(name.shortened).dtype", path) }
                let found = try scanner.string()
                guard let index = bits.index(forKey: found) else {
                    throw .malformed(
                        path: path, field: "\(name.shortened).dtype", found: found.shortened,
                        expected: "a safetensors type such as F32, BF16 or F16")
                }
                type = (bits[index].key, bits[index].value)
            case "shape":
                if shape != nil { throw duplicate("\(name.shortened).shape", path) }
                shape = try counts(&scanner, atMost: maxRank, "\(name.shortened).shape", path)
            case "data_offsets":
                if offsets != nil { throw duplicate("\(name.shortened).data_offsets", path) }
                offsets = try counts(&scanner, atMost: 2, "\(name.shortened).data_offsets", path)
            default: try scanner.skipValue()
            }
        }
        guard let type, let shape, let offsets else {
            let absent = type == nil ? "dtype" : shape == nil ? "shape" : "data_offsets"
            throw .malformed(path: path, field: name.shortened, found: "no \(absent)", expected: "one")
        }
        guard offsets.count == 2, offsets[0] <= offsets[1], offsets[1] <= data.count else {
            throw .malformed(
                path: path, field: "\(name.shortened).data_offsets", found: "\(offsets)",
                expected: "a start and an end within \(data.count) bytes of data")
        }
        var size = type.bits
        for extent in shape {
            let (product, overflow) = size.multipliedReportingOverflow(by: extent)
            if overflow {
                throw .malformed(
                    path: path, field: "\(name.shortened).shape", found: "\(shape)",
                    expected: "a size that fits 63 bits")
            }
            size = product
        }
        if size % 8 != 0 || size / 8 != offsets[1] - offsets[0] {
            throw .malformed(
                path: path, field: "\(name.shortened).data_offsets",
                found: "\(offsets[1] - offsets[0]) bytes",
                expected: size % 8 == 0 ? "\(size / 8) for \(type.name) \(shape)" : "whole bytes")
        }
        return TensorInfo(
            name: name, dtypeName: type.name, shape: shape,
            byteRange: data.lowerBound + offsets[0]..<data.lowerBound + offsets[1])
    }

    private static func counts(
        _ scanner: inout JSONScanner, atMost limit: Int, _ field: String, _ path: String
    ) throws(FileError) -> [Int] {
        var counts: [Int] = []
        try scanner.beginArray()
        while try scanner.nextElement() {
            if counts.count == limit {
                throw .malformed(
                    path: path, field: field, found: "more than \(limit) numbers", expected: "at most \(limit)")
            }
            counts.append(try scanner.count())
        }
        return counts
    }

    static func duplicate(_ field: String, _ path: String) -> FileError {
        .malformed(path: path, field: field, found: "two entries", expected: "one")
    }

    static func isForbidden(_ scalar: UnicodeScalar) -> Bool {
        switch scalar.value {
        case 0x09, 0x0a, 0x0d: false
        case 0..<0x20, 0x7f..<0xa0: true
        default: false
        }
    }

    private static let bits: [String: Int] = [
        "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
        "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
        "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
    ]
}
