import VditAttention
import VditTensor

extension RunRecord {
    /// What the self-attention of a run computed, in all its processes.
    public struct Attention: Sendable, Codable, Equatable {
        /// One layer of one step, all branches together.
        public struct Row: Sendable, Codable, Equatable {
            public var step: Int
            public var layer: Int
            /// Token pairs the method's plan keeps over all; left out for a dense call.
            public var density: Double?
            /// Token pairs computed over those of dense attention.
            public var work: Double
            public var planningSeconds: Double
            public var attentionSeconds: Double
        }

        public var method: String
        public var options: [String: String]
        /// The file with patterns for every head.
        public var table: String?
        /// What was asked for, and the options the method found for it.
        public var density: Double?
        public var solved: [String: Double]?
        public var sparseCalls: Int
        public var denseCalls: Int
        /// Of the dense calls: by schedule, by the method (refreshes), and because it could not serve them.
        public var scheduledDenseCalls: Int?
        public var refreshCalls: Int?
        public var fallbackCalls: Int?
        /// Mean over the sparse calls, in token pairs; left out where there was none.
        public var densityMean: Double?
        /// Token pairs computed over those of dense attention in all calls: of the whole run, and what dense steps and
        /// layers and refreshes contribute to it. What a step cache leaves out counts as not computed.
        public var work: Double?
        public var workDense: Double?
        public var workRefresh: Double?
        /// Multiply-adds of both products, each 2, that were not computed.
        public var flopsSaved: Double?
        /// Planning, learning and correcting; and the kernel.
        public var planningSeconds: Double?
        public var attentionSeconds: Double?
        /// What the method learned takes at the end of the run, and at most.
        public var stateBytes: Int?
        public var predictedStateBytes: Int?
        /// Instruction set of the kernel.
        public var kernel: String
        /// In the order they were computed.
        public var perLayer: [Row]?
    }
}

extension RunRecord.Attention {
    /// - Parameters:
    ///   - table: the file with patterns for every head.
    ///   - contexts: of every transformer that ran.
    ///   - pairs: token pairs of the same run with dense attention and every call computed.
    init(
        method: ConfiguredMethod, table: String?, contexts: [AttentionContext], pairs: Int, headDim: Int,
        predictedStateBytes: Int, instructionSet: InstructionSet
    ) {
        let rows = contexts.flatMap(\.statistics.rows)
        let total = rows.reduce(into: AttentionStatistics.Row(step: 0, layer: 0)) { $0.add($1) }
        func work(_ isCounted: (AttentionStatistics.Row) -> Bool) -> Double? {
            let computed = rows.reduce(0) { $0 + (isCounted($1) ? Double($1.computedPairs) : 0) }
            return total.pairs > 0 ? computed / Double(pairs) : nil
        }
        let solved = contexts.first?.planner()?.solved ?? [:]
        self.init(
            method: method.name, options: method.options, table: table, density: method.density,
            solved: solved.isEmpty ? nil : solved, sparseCalls: total.sparseCalls,
            denseCalls: total.fullCalls + total.scheduledDenseCalls + total.fallbackCalls,
            scheduledDenseCalls: total.scheduledDenseCalls, refreshCalls: total.refreshCalls,
            fallbackCalls: total.fallbackCalls, densityMean: total.density, work: work { _ in true },
            workDense: work { $0.scheduledDenseCalls + $0.fallbackCalls + $0.fullCalls > $0.refreshCalls },
            workRefresh: work { $0.refreshCalls > 0 },
            flopsSaved: Double(pairs - total.computedPairs) * 4 * Double(headDim),
            planningSeconds: total.planningSeconds, attentionSeconds: total.attentionSeconds,
            stateBytes: contexts.reduce(0) { $0 + $1.learnedBytes }, predictedStateBytes: predictedStateBytes,
            kernel: "\(instructionSet)",
            perLayer: rows.map {
                Row(
                    step: $0.step, layer: $0.layer, density: $0.density,
                    work: Double($0.computedPairs) / Double(max(1, $0.pairs)),
                    planningSeconds: $0.planningSeconds, attentionSeconds: $0.attentionSeconds)
            })
    }
}
