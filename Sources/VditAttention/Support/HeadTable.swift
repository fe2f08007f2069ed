/// Which of a method's patterns each head has at every step and layer, as a calibration chose them.
public struct HeadTable: Sendable, Equatable {
    /// The method's options of each pattern, as they are written; `density` is one.
    public let patterns: [[String: String]]
    /// `[steps][layers][heads]`: 0 is a head that sees everything, any other number counts from 1 in `patterns`.
    public let heads: [[[Int]]]

    /// - Returns: nil where there is nothing, where steps have unequal layers or layers unequal heads, or for a number
    ///   of no pattern.
    public init?(patterns: [[String: String]], heads: [[[Int]]]) {
        guard let layers = heads.first?.count, layers > 0, let count = heads[0].first?.count, count > 0,
            heads.allSatisfy({ step in
                step.count == layers
                    && step.allSatisfy { $0.count == count && $0.allSatisfy { (0...patterns.count).contains($0) } }
            })
        else { return nil }
        (self.patterns, self.heads) = (patterns, heads)
    }

    public var layers: Int { heads[0].count }
    public var headCount: Int { heads[0][0].count }

    private init(_ other: HeadTable, heads: [[[Int]]]) { (patterns, self.heads) = (other.patterns, heads) }

    /// For a loop of so many steps, each has what the nearest of the table's has.
    public func stretched(to steps: Int) -> HeadTable {
        HeadTable(self, heads: (0..<steps).map { heads[nearestStep($0, of: steps, among: heads.count)] })
    }
}

/// Where a step of a loop lies in one of another length, halves to even.
package func nearestStep(_ step: Int, of steps: Int, among others: Int) -> Int {
    Int((Double(step * (others - 1)) / Double(max(1, steps - 1))).rounded(.toNearestOrEven))
}

/// Gives every head the plan of the pattern that a table has for it.
struct TablePlanner: AttentionPlanner {
    private let method: String
    private let table: HeadTable
    /// Of each number in the table.
    private let patterns: [Pattern]
    /// Token pairs over all, of each step; none where that is not known.
    private let work: [Double]

    private enum Pattern: Sendable {
        /// Follows from the layout.
        case fixed(AttentionPlan.Head)
        case planned(any AttentionPlanner)
    }

    /// - Parameters:
    ///   - table: of the run's own steps.
    ///   - patterns: the method as each pattern has it.
    ///   - first: the first layer that is not dense by schedule.
    /// - Throws: what `ConfiguredMethod.headPlanner` throws.
    init(
        _ table: HeadTable, _ patterns: [ConfiguredMethod], _ layout: TokenLayout, first: Int
    ) throws(AttentionError) {
        let dense = AttentionPlan.dense(tokens: layout.tokens)
        var all = [Pattern.fixed(dense.head(0))]
        var shares: [Double?] = [1]
        for pattern in patterns {
            let planner = try pattern.headPlanner(for: layout)
            let plan = planner.layoutPlan
            all.append(plan.map { .fixed($0.head(0)) } ?? .planned(planner))
            shares.append(plan?.density(tokens: layout.tokens) ?? pattern.density)
        }
        let known = shares.compactMap { $0 }
        work = known.count < shares.count ? [] : table.heads.map { step in
            let numbers = step.dropFirst(first).joined()
            return numbers.reduce(0) { $0 + known[$1] } / Double(max(1, numbers.count))
        }
        (method, self.table, self.patterns) = (patterns.first?.name ?? "", table, all)
    }

    func predictedWork(step: Int, first: Int) -> Double? { work.indices.contains(step) ? work[step] : nil }

    func plan(_ call: AttentionCall, _ state: inout MethodState) throws(AttentionError) -> AttentionPlan {
        guard table.heads.indices.contains(call.step), call.site.layer < table.layers, call.heads == table.headCount
        else {
            throw .unsupported(
                method: method,
                found: "step \(call.step), layer \(call.site.layer) of \(call.heads) heads",
                expected: "one of its table's \(table.heads.count) steps, \(table.layers) layers, "
                    + "\(table.headCount) heads")
        }
        let numbers = table.heads[call.step][call.site.layer]
        return AttentionPlan(
            heads: try call.pool.map(call.heads) { (head, _) throws(AttentionError) in
                switch patterns[numbers[head]] {
                case .fixed(let plan): return plan
                case .planned(let planner):
                    // What a method learns is of all heads: one with a table learns nothing.
                    var nothing = MethodState()
                    return try planner.plan(call.of(head: head), &nothing).head(0)
                }
            })
    }
}
