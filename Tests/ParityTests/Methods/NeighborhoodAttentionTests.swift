import TestSupport
import Testing
import VDiT

@Suite struct NeighborhoodAttentionParity {
    private func plan(_ layout: TokenLayout, windows: [Int], strides: [Int]) throws -> AttentionPlan {
        let extents = [layout.frames, layout.height, layout.width]
        var options: [String: String] = [:]
        for (axis, name) in ["frames", "height", "width"].enumerated() {
            options["window-\(name)"] = "\(Double(windows[axis]) / Double(extents[axis]))"
            options["stride-\(name)"] = "\(strides[axis])"
        }
        return try #require(MethodExample("gna", options).configured().planner(for: layout).layoutPlan)
    }

    @Test func outputIsThatOfTheSpecification() throws {
        let golden = try SpecificationGolden.entry("gna")
        let call = SpecificationGolden.call(try #require(golden["grid"] as? [Int]))
        let plan = try plan(
            call.layout, windows: try #require(golden["window"] as? [Int]),
            strides: try #require(golden["stride"] as? [Int]))
        let output = blockSparseAttention(call, plan, values: .f32)
        let summary = try #require(golden["output"] as? [String: Any])
        let values = output.values.floats().map(Double.init)
        #expect(abs(values.reduce(0, +) - (summary["sum"] as? Double ?? 0)) < 1e-2)
        let squares = values.reduce(0) { $0 + $1 * $1 }
        #expect(abs(squares / (summary["sumOfSquares"] as? Double ?? 0) - 1) < 1e-5)
        for (found, name) in [(values.prefix(16), "head0Token0"), (values.suffix(16), "lastHeadLastToken")] {
            for (a, b) in zip(found, try #require(summary[name] as? [Double])) { #expect(abs(a - b) < 1e-4) }
        }
    }

    /// Windows of one dimension begin where the specification's do, at every border and stride.
    @Test func windowsBeginWhereTheSpecificationSays() throws {
        let golden = try #require(try SpecificationGolden.entry("gna")["axisStarts"] as? [String: [Int]])
        for (name, starts) in golden {
            let numbers = name.split(separator: " ").compactMap { Int($0.dropFirst()) }
            let layout = TokenLayout(frames: 1, height: 1, width: numbers[0])
            let head = try plan(layout, windows: [1, 1, numbers[1]], strides: [1, 1, numbers[2]]).heads[0]
            for (row, start) in zip(MethodCase.tokenMask(head), starts) {
                #expect(row == (0..<numbers[0]).map { (start..<start + numbers[1]).contains($0) }, "\(name)")
            }
        }
    }

    /// Every query sees as many keys, on grids that nothing divides.
    @Test func everyQueryHasTheSameNumberOfKeys() throws {
        let layout = TokenLayout(frames: 5, height: 7, width: 11, textAfter: 4)
        for (windows, strides) in [([3, 4, 5], [2, 3, 4]), ([5, 7, 3], [1, 5, 2]), ([1, 2, 11], [4, 4, 4])] {
            let head = try plan(layout, windows: windows, strides: strides).heads[0]
            for row in MethodCase.tokenMask(head)[..<layout.videoTokens] {
                #expect(row.count { $0 } == windows.reduce(1, *) + 4)
            }
        }
    }
}
