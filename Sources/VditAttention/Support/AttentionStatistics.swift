/// What the attention of a run computed and how long it took, per step and layer.
public struct AttentionStatistics: Sendable, Equatable, Codable {
    /// One layer of one step, all branches together. Pairs count query-key token pairs over all heads.
    public struct Row: Sendable, Equatable, Codable {
        public let step: Int
        public let layer: Int
        /// Calls whose plan dropped something.
        public var sparseCalls = 0
        /// Calls whose plan kept everything.
        public var fullCalls = 0
        /// Calls that measure anew what later ones go by.
        public var refreshCalls = 0
        /// Calls the schedule kept dense.
        public var scheduledDenseCalls = 0
        /// Calls the method could not serve, computed densely.
        public var fallbackCalls = 0
        /// Pairs dense attention would compute for all calls, and for the sparse ones.
        public var pairs = 0
        public var sparsePairs = 0
        /// Pairs the plans of the sparse calls keep.
        public var keptPairs = 0
        /// Pairs the kernel computed, second runs of a refresh included.
        public var computedPairs = 0
        /// Planning, learning and correcting.
        public var planningSeconds = 0.0
        /// The kernel.
        public var attentionSeconds = 0.0

        public init(step: Int, layer: Int) {
            self.step = step
            self.layer = layer
        }

        /// Share of the pairs that sparse calls keep; nil where none was sparse.
        public var density: Double? {
            sparsePairs > 0 ? Double(keptPairs) / Double(sparsePairs) : nil
        }

        fileprivate var counts: [Int] {
            [
                sparseCalls, fullCalls, refreshCalls, scheduledDenseCalls, fallbackCalls, pairs, sparsePairs, keptPairs,
                computedPairs,
            ]
        }

        /// Adds the counts and seconds of another row.
        public mutating func add(_ other: Row) {
            sparseCalls += other.sparseCalls
            fullCalls += other.fullCalls
            refreshCalls += other.refreshCalls
            scheduledDenseCalls += other.scheduledDenseCalls
            fallbackCalls += other.fallbackCalls
            pairs += other.pairs
            sparsePairs += other.sparsePairs
            keptPairs += other.keptPairs
            computedPairs += other.computedPairs
            planningSeconds += other.planningSeconds
            attentionSeconds += other.attentionSeconds
        }
    }

    /// In the order of their first calls.
    public private(set) var rows: [Row] = []

    public init() {}

    mutating func add(_ row: Row) {
        // Calls come in step order, so a row's place is near the end: within the last step.
        let known = rows.lastIndex { $0.step != row.step || $0.layer == row.layer }
        if let known, rows[known].step == row.step, rows[known].layer == row.layer {
            rows[known].add(row)
        } else {
            rows.append(row)
        }
    }

    /// Whether no number is negative or infinite and all can be summed: what is read from a file may be anything.
    var isPlausible: Bool {
        let areRowsSound = rows.allSatisfy { row in
            row.counts.allSatisfy { $0 >= 0 }
                && [row.planningSeconds, row.attentionSeconds].allSatisfy { $0.isFinite && $0 < 1e12 }
        }
        return areRowsSound && rows.reduce(0) { $0 + $1.counts.reduce(0) { $0 + Double($1) } } < 0x1p60
    }

    /// The whole run in one row.
    public var total: Row {
        rows.reduce(into: Row(step: 0, layer: 0)) { $0.add($1) }
    }

    /// Mean density of the sparse calls, in token pairs; nil where none was sparse.
    public var sparseDensity: Double? { total.density }

    /// Pairs computed over pairs of dense attention, dense and refresh calls included: the effective work.
    public var work: Double {
        let total = total
        return total.pairs > 0 ? Double(total.computedPairs) / Double(total.pairs) : 1
    }
}
