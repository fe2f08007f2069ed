import Glibc

/// Entries of a level and a cost each.
struct LevelEntries {
    let levels: UnsafeBufferPointer<UInt8>
    /// Of each, above 0.
    let costs: [Int32]
    /// What the costs are multiplied with.
    let factor: Double

    /// What those that are not kept cost, level by level, and those that are.
    fileprivate func sums(_ keeps: UnsafeMutableBufferPointer<Bool>) -> (open: [Double], kept: Double) {
        precondition(levels.count == costs.count && keeps.count == costs.count)
        // Two tables: the next entry's sum need not wait for this one's.
        return withUnsafeTemporaryAllocation(of: Int32.self, capacity: 2 * 256) { sums in
            sums.initialize(repeating: 0)
            var kept: Int32 = 0
            costs.withUnsafeBufferPointer { costs in
                for entry in costs.indices {
                    let open = keeps[entry] ? 0 : costs[entry]
                    sums[(entry & 1) << 8 | Int(levels[entry])] &+= open
                    kept &+= costs[entry] &- open
                }
            }
            return ((0..<256).map { factor * Double(sums[$0] &+ sums[256 + $0]) }, factor * Double(kept))
        }
    }

    /// Keeps what a cut takes.
    ///
    /// - Returns: what is spent on entries at the cut's level.
    @discardableResult
    func keep(_ cut: inout LevelBudget.Cut, _ keeps: UnsafeMutableBufferPointer<Bool>) -> Double {
        precondition(levels.count == keeps.count)
        if cut.level < 255 {
            let least = UInt8(cut.level + 1)
            for entry in levels.indices { keeps[entry] = levels[entry] >= least ? true : keeps[entry] }
        }
        guard cut.part > 0, let start = UnsafeRawPointer(levels.baseAddress) else { return 0 }
        var (spent, next) = (0.0, 0)
        while let found = memchr(start + next, Int32(cut.level), levels.count - next) {
            let entry = UnsafeRawPointer(found) - start
            next = entry + 1
            let cost = factor * Double(costs[entry])
            if keeps[entry] || !cut.takes(cost) { continue }
            keeps[entry] = true
            spent += cost
        }
        return spent
    }
}

/// Spends a budget on entries by level, from the highest down: how much of what cost lies at each level.
struct LevelBudget: Sendable {
    /// What is there to spend.
    private var left = 0.0
    private var costs = [Double](repeating: 0, count: 256)

    /// Nothing to spend, and nothing to spend it on.
    init() {}

    /// What is left for entries that are not kept, once those are paid that are.
    init(_ budget: Double, _ entries: LevelEntries, _ keeps: UnsafeMutableBufferPointer<Bool>) {
        let (open, kept) = entries.sums(keeps)
        (left, costs) = (budget - kept, open)
    }

    mutating func add(_ other: LevelBudget) {
        left += other.left
        for level in costs.indices { costs[level] += other.costs[level] }
    }

    /// Where the budget ends: entries above a level are taken, and a part of those at it, spread evenly.
    struct Cut: Sendable {
        fileprivate let level: Int
        fileprivate let part: Double
        private var due = 0.0

        fileprivate init(level: Int, part: Double) {
            self.level = level
            self.part = part
        }

        /// Whether the next entry at the level is taken.
        fileprivate mutating func takes(_ cost: Double) -> Bool {
            due += cost * part
            if due < cost / 2 { return false }
            due -= cost
            return true
        }
    }

    /// Where a part of it ends.
    func cut(_ part: Double = 1) -> Cut {
        var left = part * left
        for level in costs.indices.reversed() where costs[level] > 0 {
            if left < costs[level] { return Cut(level: level, part: max(0, left) / costs[level]) }
            left -= costs[level]
        }
        return Cut(level: -1, part: 0)
    }

    /// Keeps what a cut takes of the entries that it was made of, and pays for it.
    mutating func keep(
        _ cut: inout Cut, _ entries: LevelEntries, _ keeps: UnsafeMutableBufferPointer<Bool>
    ) {
        let spent = entries.keep(&cut, keeps)
        for level in costs.indices where level > cut.level {
            left -= costs[level]
            costs[level] = 0
        }
        guard cut.level >= 0 else { return }
        left -= spent
        costs[cut.level] -= spent
    }
}
