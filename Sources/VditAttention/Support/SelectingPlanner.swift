import VditTensor

/// What a method knows of one head's pairs of video blocks before they are computed.
struct BlockScores {
    /// Query block by query block, of each key block: how much it is expected to matter, a row summing to 1.
    var masses: [Float]
    /// Key blocks and query blocks whose scores say nothing: kept by all, and keeping all.
    var unknownKeys: [Bool]?
    var unknownQueries: [Bool]?
}

/// Judges pairs of blocks from queries and keys.
protocol BlockScorer: Sendable {
    func scores(
        _ call: AttentionCall, head: Int, _ kernels: PlanningKernels, _ scratch: Scratch
    ) throws(AttentionError) -> BlockScores
}

/// How many key blocks a query block keeps of those that score highest.
enum BlockBudget: Sendable {
    /// As many as the most generous of some rules says.
    case rules([SelectionRule])
    /// So many that this share of all token pairs is kept, text included. Forced pairs come first and count.
    case density(Double)
}

/// Keeps what is forced, and of each query block the key blocks that score highest.
struct SelectingPlanner<Scorer: BlockScorer>: AttentionPlanner {
    private let scorer: Scorer
    private let selection: BlockSelection

    /// - Throws: what `BlockSelection` throws.
    init(
        _ scorer: Scorer, _ blocks: VideoBlocks, _ budget: BlockBudget, _ forcing: ForcedBlocks, method: String,
        rest: AttentionPlan.Rest = .dropped
    ) throws(AttentionError) {
        self.scorer = scorer
        selection = try BlockSelection(blocks, budget, forcing, method: method, rest: rest)
    }

    func plan(_ call: AttentionCall, _ state: inout MethodState) throws(AttentionError) -> AttentionPlan {
        let kernels = PlanningKernels(call.instructionSet)
        return try selection.blocks.plan(call) { (head, scratch) throws(AttentionError) in
            selection.kept(try scorer.scores(call, head: head, kernels, scratch))
        }.with(rest: selection.rest)
    }
}

/// Of one head's pairs of video blocks, those that are forced and the best of each query block.
struct BlockSelection: Sendable {
    let blocks: VideoBlocks
    let rest: AttentionPlan.Rest
    private let budget: BlockBudget
    private let forced: [Bool]
    /// Keys that a key block adds to what stands for it where it is not kept.
    private let gains: [Int]
    /// Such keys of every query, where a density decides.
    private let keys: Double

    /// - Throws: `AttentionError.unreachableDensity` where a block for every query is more.
    init(
        _ blocks: VideoBlocks, _ budget: BlockBudget, _ forcing: ForcedBlocks, method: String,
        rest: AttentionPlan.Rest = .dropped
    ) throws(AttentionError) {
        (self.blocks, self.budget, self.rest) = (blocks, budget, rest)
        forced = forcing.pairs(blocks)
        let sizes = blocks.keys.videoSizes
        gains = sizes.map { $0 - rest.keys(for: $0) }
        guard case .density(let density) = budget else {
            keys = 0
            return
        }
        let means = sizes.reduce(0) { $0 + rest.keys(for: $1) }
        keys = try blocks.layout.keys(density: density, beyond: means, atLeast: gains.max() ?? 0, method: method)
    }

    /// `[pairCount]`.
    func kept(_ scores: BlockScores) -> [Bool] {
        switch budget {
        case .rules(let rules): kept(scores, by: rules)
        case .density: keptWithinDensity(scores)
        }
    }

    private func kept(_ scores: BlockScores, by rules: [SelectionRule]) -> [Bool] {
        let count = blocks.keys.video.count
        var keeps = forced
        for row in 0..<blocks.queries.video.count {
            let pairs = row * count..<(row + 1) * count
            let order = ranked(scores.masses[pairs]).map { pairs.lowerBound + Int($0) }
            let sorted = order.lazy.map { scores.masses[$0] }
            let most = scores.unknownQueries?[row] == true ? count : rules.map { $0.count(sorted) }.max() ?? 0
            for pair in order.prefix(most) { keeps[pair] = true }
            if let unknown = scores.unknownKeys {
                for block in 0..<count where unknown[block] { keeps[pairs.lowerBound + block] = true }
            }
        }
        return keeps
    }

    /// What is forced comes first, then key blocks whose scores say nothing, as far as the density goes.
    private func keptWithinDensity(_ scores: BlockScores) -> [Bool] {
        var keeps = [Bool](repeating: false, count: forced.count)
        // Token pairs that the rows before took too few or too many, as whole blocks have it.
        var owed = 0.0
        for (row, size) in blocks.queries.videoSizes.enumerated() {
            let first = row * gains.count
            var masses = Array(scores.masses[first..<first + gains.count])
            for block in masses.indices {
                if scores.unknownKeys?[block] == true { masses[block] = 2 }
                // Masses are 1 at most.
                if forced[first + block] { masses[block] += 4 }
            }
            owed += Double(size) * keys
            for (place, block) in ranked(masses).enumerated() {
                let cost = Double(size * gains[Int(block)])
                if owed < cost / 2, place > 0 { break }
                keeps[first + Int(block)] = true
                owed -= cost
            }
        }
        return keeps
    }
}

extension VideoBlocks {
    /// One head's plan that follows from the blocks alone: what is forced, and of each query block the key blocks that
    /// score highest, every query block keeping as much.
    ///
    /// - Parameters:
    ///   - forcing: of `ForcedBlocks`' options, those that are not at their defaults.
    ///   - score: of a query block and a key block, in 0…1.
    /// - Throws: what `BlockSelection` throws.
    func head(
        _ budget: BlockBudget, forcing: [OptionSetting] = [], method: String, score: (Int, Int) -> Float
    ) throws(AttentionError) -> AttentionPlan.Head {
        let selection = try BlockSelection(self, budget, ForcedBlocks(OptionSettings(forcing)), method: method)
        let count = keys.video.count
        let scores = BlockScores(masses: (0..<pairCount).map { score($0 / count, $0 % count) })
        return head(keeping: selection.kept(scores))
    }

    /// The plan in which a query block keeps the key blocks nearest to its own.
    func band(
        _ budget: BlockBudget, forcing: [OptionSetting] = [], method: String
    ) throws(AttentionError) -> AttentionPlan.Head {
        try head(budget, forcing: forcing, method: method) { 1 / Float(1 + abs($0 - $1)) }
    }
}

extension TokenLayout {
    /// Keys that a density leaves every query of the video, text and some others being there anyway.
    ///
    /// - Throws: `AttentionError.unreachableDensity` where they are fewer than `least`.
    func keys(
        density: Double, beyond others: Int = 0, atLeast least: Int, method: String
    ) throws(AttentionError) -> Double {
        let (video, others, least) = (Double(videoTokens), Double(others), Double(least))
        let keys = videoPairs(density: density) / video - others
        if keys < least {
            throw .unreachableDensity(
                density, method: method, reachable: self.density(videoPairs: video * (others + least))...1)
        }
        return keys
    }
}
