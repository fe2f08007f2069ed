/// Spends a budget on entries by level, from the highest down: how much of what cost lies at each level.
struct LevelBudget: Sendable {
    /// What is there to spend.
    var left = 0.0
    private var costs = [Double](repeating: 0, count: 256)

    mutating func add(_ cost: Double, at level: UInt8) { costs[Int(level)] += cost }

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

        /// Whether the next entry is taken. An entry that costs nothing is.
        mutating func takes(_ cost: Double, at level: UInt8) -> Bool {
            if Int(level) != self.level { return Int(level) > self.level || cost <= 0 }
            due += cost * part
            if due < cost / 2 { return false }
            due -= cost
            return true
        }
    }

    var cut: Cut {
        var left = left
        for level in costs.indices.reversed() where costs[level] > 0 {
            if left < costs[level] { return Cut(level: level, part: max(0, left) / costs[level]) }
            left -= costs[level]
        }
        return Cut(level: -1, part: 0)
    }
}
