import VditTensor

/// Which key blocks each query block attends to, as data. One kernel runs any plan; dense is the plan that
/// keeps everything.
///
/// `out = Σ w v / Σ w` over the keys of the kept blocks, `w = exp(scale · q·k)`, and over those that stand for the
/// rest, `w = n · exp(scale · q·k)` where one stands for n keys; `logSumExp = log Σ w`. A rest of first order adds how
/// the values of the keys it stands for lean with q (`PooledKeys.Order`), a rectified one corrects the values once they
/// are there (`Rectification`). A query block without any key is legal: values 0, logSumExp −∞.
public struct AttentionPlan: Sendable, Equatable {
    /// What becomes of the key blocks a query block does not keep.
    public enum Rest: Sendable, Equatable {
        case dropped
        /// So many consecutive keys of a block enter as one, the mean of the keys with the mean of the values; the last
        /// of a block may stand for fewer, and nil makes one of each block.
        case pooled(run: Int?, order: PooledKeys.Order = .zeroth)
        /// Likewise in runs whose length each pair of blocks says for itself: `levels[query block · key blocks + key
        /// block]` counts from 1 in `runs`, and is 0 where the key block is dropped, or kept.
        case levels([UInt8], runs: [Int])
        /// The estimated mass of some of them enters with the means of their values, after the kernel.
        case rectified

        /// Keys of a run, of each level; none where nothing stands for a block.
        var runs: [Int] {
            switch self {
            case .dropped, .rectified: []
            case .pooled(let run, _): [run ?? .max]
            case .levels(_, let runs): runs
            }
        }

        /// Keys that stand for a block of so many that is not kept, where it is the same for all pairs.
        func keys(for block: Int) -> Int { runs.first.map { (block - 1) / $0 + 1 } ?? 0 }
    }

    /// The decision for one head. Positions are places in the order, tokens places in the sequence.
    public struct Head: Sendable, Equatable {
        /// `queryOrder[position]` is a token; nil is the identity. A permutation of all tokens.
        public var queryOrder: [Int32]?
        public var keyOrder: [Int32]?
        /// Block boundaries in positions: first 0, last the token count, strictly ascending.
        public var queryOffsets: [Int32]
        public var keyOffsets: [Int32]
        /// `keyBlocks[rowStart[b]..<rowStart[b + 1]]` are the key blocks query block `b` keeps, ascending.
        public var rowStart: [Int32]
        public var keyBlocks: [Int32]
        public var rest: Rest

        public init(
            queryOrder: [Int32]? = nil, keyOrder: [Int32]? = nil, queryOffsets: [Int32],
            keyOffsets: [Int32], rowStart: [Int32], keyBlocks: [Int32], rest: Rest = .dropped
        ) {
            self.queryOrder = queryOrder
            self.keyOrder = keyOrder
            self.queryOffsets = queryOffsets
            self.keyOffsets = keyOffsets
            self.rowStart = rowStart
            self.keyBlocks = keyBlocks
            self.rest = rest
        }

        public var queryBlocks: Int { queryOffsets.count - 1 }
        public var keyBlockCount: Int { keyOffsets.count - 1 }
        var keepsAll: Bool { keyBlocks.count == queryBlocks * keyBlockCount }

        /// The key blocks that query block `block` keeps.
        public func kept(_ block: Int) -> ArraySlice<Int32> {
            keyBlocks[Int(rowStart[block])..<Int(rowStart[block + 1])]
        }

        /// Where each pair of blocks says what stands for the key block, the levels of a query block.
        func levels(_ block: Int) -> ArraySlice<UInt8>? {
            guard case .levels(let levels, _) = rest else { return nil }
            return levels[block * keyBlockCount..<(block + 1) * keyBlockCount]
        }

        /// Keys each query block is multiplied with, of tokens and such as stand for several.
        var keysOfRows: [Int] {
            let sizes = zip(keyOffsets, keyOffsets.dropFirst()).map { Int($1 - $0) }
            // What stands for each block at each level, from nothing on.
            let short = sizes.map { _ in 0 } + rest.runs.flatMap { run in sizes.map { ($0 - 1) / run + 1 } }
            let ofRest = short.suffix(sizes.count).reduce(0, +)
            return (0..<queryBlocks).map { row in
                guard let levels = levels(row) else {
                    return kept(row).reduce(ofRest) { $0 + sizes[Int($1)] - short[short.count - sizes.count + Int($1)] }
                }
                var keys = 0
                for (block, level) in levels.enumerated() { keys += short[Int(level) * sizes.count + block] }
                return kept(row).reduce(keys) { $0 + sizes[Int($1)] }
            }
        }

        /// Query-key pairs computed. The one small product of a rest of first order is not counted.
        public var pairs: Int { pairs(keysOfRows) }

        /// - Parameter keysOfRows: its own, where they are counted already.
        func pairs(_ keysOfRows: [Int]) -> Int {
            zip(keysOfRows, zip(queryOffsets, queryOffsets.dropFirst()))
                .reduce(0) { $0 + $1.0 * Int($1.1.1 - $1.1.0) }
        }
    }

    /// Tokens of the longest sequence a plan can be made for: the dense plan's list of blocks takes 1 GiB then.
    public static let mostTokens = 1 << 21
    /// Blocks of queries, and of keys, at most: pairs of them are counted in 32 bits.
    public static let mostBlocks = 40_000

    /// One entry per head, or a single one that all heads share.
    public var heads: [Head]
    /// Whether the kernel hands out the softmax mass on every kept block. Query blocks have at most
    /// `AttentionKernel.rows` tokens then.
    public var measuresMass: Bool

    public init(heads: [Head], measuresMass: Bool = false) {
        self.heads = heads
        self.measuresMass = measuresMass
    }

    /// The plan of one head, of `heads.count` or of all.
    public func head(_ index: Int) -> Head { heads.count == 1 ? heads[0] : heads[index] }

    /// The same blocks with another rest.
    public func with(rest: Rest) -> AttentionPlan {
        var plan = self
        for head in heads.indices { plan.heads[head].rest = rest }
        return plan
    }

    /// Computed pairs over all token pairs, averaged over heads.
    public func density(tokens: Int) -> Double {
        let kept = heads.reduce(0) { $0 + $1.pairs }
        return Double(kept) / (Double(tokens) * Double(tokens) * Double(heads.count))
    }

    /// Block boundaries every `block` positions, the last block short.
    public static func offsets(tokens: Int, block: Int) -> [Int32] {
        stride(from: 0, to: tokens, by: block).map(Int32.init) + [Int32(tokens)]
    }

    /// The plan that keeps everything.
    public static func dense(tokens: Int, block: Int = 128) -> AttentionPlan {
        let offsets = offsets(tokens: tokens, block: block)
        let blocks = Int32(offsets.count - 1)
        return AttentionPlan(heads: [
            Head(
                queryOffsets: offsets, keyOffsets: offsets,
                rowStart: (0...blocks).map { $0 * blocks },
                keyBlocks: (0..<blocks).flatMap { _ in 0..<blocks })
        ])
    }
}
