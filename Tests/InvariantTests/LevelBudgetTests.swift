import Testing
import TestSupport
@testable import VditAttention

/// A budget by level spends what it has on the highest levels, and no more than the half of an entry beside it.
@Suite struct LevelBudgetInvariants {
    @Test(arguments: [0.0, 0.1, 0.5, 0.9, 1.2], [1, 7, 256])
    func whatIsKeptIsTheHighestThatTheBudgetPaysFor(part: Double, levels: Int) {
        var random = SeededRandom.fresh()
        let count = 400
        let level = (0..<count).map { _ in UInt8(Int.random(in: 0..<levels, using: &random)) }
        let costs = (0..<count).map { _ in Int32.random(in: 1...31, using: &random) }
        let forced = (0..<count).map { _ in Int.random(in: 0..<10, using: &random) == 0 }
        let factor = 24.0
        func cost(_ places: some Sequence<Int>) -> Double { places.reduce(0) { $0 + factor * Double(costs[$1]) } }
        let budget = part * cost(0..<count)
        var keeps = forced
        level.withUnsafeBufferPointer { level in
            keeps.withUnsafeMutableBufferPointer { keeps in
                let entries = LevelEntries(levels: level, costs: costs, factor: factor)
                var left = LevelBudget(budget, entries, keeps)
                var cut = left.cut()
                left.keep(&cut, entries, keeps)
            }
        }
        let taken = (0..<count).filter { keeps[$0] && !forced[$0] }
        let open = (0..<count).filter { !keeps[$0] }
        #expect((0..<count).allSatisfy { keeps[$0] || !forced[$0] })
        #expect((taken.map { level[$0] }.min() ?? 255) >= (open.map { level[$0] }.max() ?? 0), "seed \(random.seed)")
        let (has, spent) = (max(0, budget - cost((0..<count).filter { forced[$0] })), cost(taken))
        #expect(open.isEmpty || abs(spent - has) <= factor * 31, "\(spent) of \(has), seed \(random.seed)")
        #expect(open.isEmpty ? spent <= has : true)
    }
}
