import VditTensor

extension AttentionPlan.Head {
    /// Which key blocks each query block keeps: `[queryBlocks, keyBlocks]` bool.
    public var mask: Tensor {
        let mask = Tensor(.bool, [queryBlocks, keyBlockCount])
        let bytes = mask.pointer(as: UInt8.self)
        for row in 0..<queryBlocks {
            for key in kept(row) { bytes[row * keyBlockCount + Int(key)] = 1 }
        }
        return mask
    }

    /// The plan by name, i32: `query_order` and `key_order` `[tokens]` (token at each position),
    /// `query_offsets` and `key_offsets` `[blocks + 1]` (block boundaries in positions), and the kept blocks
    /// as compressed rows, `row_start` `[queryBlocks + 1]` and `key_blocks`.
    public var tensors: [String: Tensor] {
        let identity = { (offsets: [Int32]) in Array(0..<(offsets.last ?? 0)) }
        return [
            "query_order": queryOrder ?? identity(queryOffsets), "key_order": keyOrder ?? identity(keyOffsets),
            "query_offsets": queryOffsets, "key_offsets": keyOffsets, "row_start": rowStart,
            "key_blocks": keyBlocks,
        ].mapValues(Tensor.init(integers:))
    }
}

extension Tensor {
    /// `[count]` i32.
    init(integers: [Int32]) {
        self.init(.i32, [integers.count])
        let target = pointer(as: Int32.self)
        for (index, value) in integers.enumerated() { target[index] = value }
    }
}
