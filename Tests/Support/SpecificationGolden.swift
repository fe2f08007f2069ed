import Foundation
import Testing
import VDiT

/// What our statements of the methods' formulas in NumPy give, and the input they give it for.
public enum SpecificationGolden {
    public static func entry(_ name: String) throws -> [String: Any] {
        let json = try Data(contentsOf: URL(fileURLWithPath: Golden.path("methods/specs-golden.json")))
        let all = try #require(try JSONSerialization.jsonObject(with: json) as? [String: Any])
        return try #require(all[name] as? [String: Any])
    }

    /// Key blocks that each query block of each head keeps of the operands of a grid, dense steps left out.
    ///
    /// - Parameter probe: the entry that has the grid.
    public static func kept(
        _ method: String, _ options: [String: String], probe: String = "probe"
    ) throws -> [[[Int]]] {
        let grid = try #require(try entry(probe)["grid"] as? [Int])
        let call = call(grid)
        var state = MethodState()
        let plan = try MethodExample(method, options).configured().planner(for: call.layout).plan(call, &state)
        return plan.heads.map { head in (0..<head.queryBlocks).map { head.kept($0).map(Int.init) } }
    }

    /// What a method's first call gives of the operands of the first grid is what an entry has as `output`.
    ///
    /// - Parameter layer: of the call.
    public static func expectOutput(
        _ method: String, _ options: [String: String], of name: String, layer: Int = 0
    ) throws {
        let call = call(try #require(try entry("probe")["grid"] as? [Int]), layer: layer)
        let context = try AttentionContext(MethodExample(method, options).configured(), layout: call.layout)
        try expect(context.attend(call), entry(name)["output"])
    }

    /// The first and the last row of values, their sum and that of their squares.
    public static func expect(_ output: AttentionOutput, _ golden: Any?) throws {
        let expected = try #require(golden as? [String: Any])
        let found = output.values
        for (row, key) in [(found[0][0], "head0Token0"), (found[found.shape[0] - 1][1], "lastHeadLastToken")] {
            let right = try #require(expected[key] as? [Double]).map(Float.init)
            #expect(MethodCase.distance(row.floats(), right) < 2e-6, "\(key)")
        }
        let values = found.floats().map(Double.init)
        let (sum, squares) = try (
            #require(expected["sum"] as? Double), #require(expected["sumOfSquares"] as? Double)
        )
        #expect(abs(values.reduce(0, +) - sum) < 1e-3)
        #expect(abs(values.reduce(0) { $0 + $1 * $1 } - squares) < 2e-3)
    }

    /// A cosine over the grid and splitmix64's noise, heads of 16.
    public static func call(
        _ grid: [Int], heads: Int = 2, step: Int = 0, layer: Int = 0, projection: Linear? = nil
    ) -> AttentionCall {
        let layout = TokenLayout(frames: grid[0], height: grid[1], width: grid[2])
        let operands = [(1, 2.0), (2, 1.5), (3, 1.0)].map { seed, gain in
            Tensor(
                probe(seed: seed, gain: gain, grid, heads).map(Float.init), shape: [heads, layout.tokens, 16])
        }
        return MethodCase.call(
            q: operands[0], k: operands[1], v: operands[2], projection: projection, layout: layout, step: step,
            layer: layer)
    }

    private static func probe(seed: Int, gain: Double, _ grid: [Int], _ heads: Int) -> [Double] {
        func unit(_ index: Int) -> Double {
            var random = SeededRandom(seed: UInt64(seed) << 32 + UInt64(index))
            return Double(random.next() >> 11) * 0x1p-52 - 1
        }
        let tokens = grid.reduce(1, *)
        return (0..<heads * tokens * 16).map { index in
            let (head, token, i) = (index / 16 / tokens, index / 16 % tokens, index % 16)
            let (row, column) = (token / grid[2] % grid[1], token % grid[2])
            let frame = token / (grid[1] * grid[2])
            let first = 0.37 * Double(i + 1) + 0.5 * Double(head) + 0.21 * Double(frame * (i % 3))
            let smooth = cos(first + 0.43 * Double(row) + 0.29 * Double(column * (i % 2)))
            return gain * (0.5 * unit(index) + smooth)
        }
    }
}
