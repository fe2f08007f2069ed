extension Tensor {
    /// The values as integers, whatever type they are stored in; nil where one is none, or of a type not read here.
    public var wholeNumbers: [Int]? {
        func integers<Integer: FixedWidthInteger>(_ type: Integer.Type) -> [Int]? {
            withBytes { bytes in
                var values: [Int] = []
                for offset in stride(from: 0, to: bytes.count, by: MemoryLayout<Integer>.size) {
                    guard let value = Int(exactly: bytes.loadUnaligned(fromByteOffset: offset, as: type)) else {
                        return nil
                    }
                    values.append(value)
                }
                return values
            }
        }
        switch dtype {
        case .i64: return integers(Int64.self)
        case .i32: return integers(Int32.self)
        case .u8: return integers(UInt8.self)
        case let type where type.isFloatingPoint:
            let values = floats().compactMap { Int(exactly: $0) }
            return values.count == count ? values : nil
        default: return nil
        }
    }
}
