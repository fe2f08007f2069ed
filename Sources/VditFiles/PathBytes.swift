import Glibc

// Paths are bytes to the system and text here. A byte of a name that is no part of UTF-8 is the private-use character
// U+F700 + byte in every text: arguments, messages, records, pipelines. So is every byte of such a character that a
// name holds itself: each name has one text, and the text leads back to it.

extension UnicodeScalar {
    /// The byte of a name that this character stands for.
    package var escapedByte: UInt8? { (0xf780...0xf7ff).contains(value) ? UInt8(value & 0xff) : nil }
}

extension String {
    /// Whether this is the text of a name that is not UTF-8.
    package var holdsEscapedBytes: Bool { unicodeScalars.contains { $0.escapedByte != nil } }

    /// The text of a name that the system gives.
    package init(path: UnsafePointer<CChar>) {
        self.init(pathBytes: UnsafeRawBufferPointer(start: path, count: strlen(path)))
    }

    package init(pathBytes bytes: some Collection<UInt8>) {
        self.init()
        var rest = Array(bytes)[...]
        while let first = rest.first {
            let length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4
            if let part = String(validating: rest.prefix(length), as: UTF8.self), !part.holdsEscapedBytes {
                unicodeScalars += part.unicodeScalars
                rest = rest.dropFirst(length)
            } else {
                unicodeScalars += [UnicodeScalar(0xf700 + UInt16(first))].compactMap(\.self)
                rest = rest.dropFirst()
            }
        }
    }

    /// The bytes of the name that this is the text of.
    package var pathBytes: [UInt8] {
        unicodeScalars.reduce(into: []) { bytes, scalar in
            if let byte = scalar.escapedByte { bytes.append(byte) } else { bytes += Array(String(scalar).utf8) }
        }
    }

    /// Calls `body` with the bytes of the name as C takes them.
    package func withPath<Result>(_ body: (UnsafePointer<CChar>) -> Result) -> Result {
        if !holdsEscapedBytes { return withCString(body) }
        return body(pathBytes.map(CChar.init(bitPattern:)) + [0])
    }
}
