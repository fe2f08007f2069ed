import TestSupport
import Testing
import VDiT

/// Densities of some steps and layers, whatever the method.
@Suite struct DensityScheduleTests {
    private static let methods = MethodCatalogue.methods.filter { !$0.densityOptions.isEmpty }.map(\.name)
    private let layout = TokenLayout(frames: 4, height: 9, width: 10, textAfter: 5)
    private let loop = 8
    private let pool = WorkPool(threads: 2)

    /// Values of every call of a run, by step and layer, and its context.
    private func run(
        _ name: String, _ options: [String: String], density: Double?
    ) throws -> (values: [[[[Float]]]], context: AttentionContext) {
        let small = [
            "draft": ["pool-height": "3", "pool-width": "5"],
            "gna": ["stride-frames": "1", "stride-height": "1", "stride-width": "1"], "sparse-vdit": ["block": "15"],
        ][name] ?? [:]
        let context = try AttentionContext(
            MethodExample(name, small.merging(options) { $1 }, density: density).configured(), layout: layout)
        let values = try (0..<loop).map { step in
            try (0..<3).map { layer in
                try AttentionSite.Branch.allCases.map { branch in
                    var random = SeededRandom(seed: UInt64(step * 100 + layer * 10 + (branch == .conditional ? 1 : 2)))
                    let call = MethodCase.call(
                        layout, step: step, steps: loop, layer: layer, branch: branch, pool: pool, &random)
                    return try context.attend(call).values.floats()
                }
            }
        }
        return (values, context)
    }

    /// One beside 0.75 that a method reaches on this grid: STA's windows are of whole tiles.
    private func other(_ method: String) -> Double { method == "sta" ? 0.8 : 0.9 }

    private func pairs(_ context: AttentionContext) -> [Int] { context.statistics.rows.map(\.computedPairs) }

    @Test(arguments: methods)
    func oneDensityForAllStepsOrLayersIsThatDensity(method: String) throws {
        let plain = try run(method, ["dense-steps": "1"], density: 0.75)
        for (option, text) in [("density-steps", "100%:0.75"), ("density-layers", "3:0.75")] {
            let scheduled = try run(method, ["dense-steps": "1", option: text], density: other(method))
            #expect(scheduled.values == plain.values)
            #expect(pairs(scheduled.context) == pairs(plain.context))
        }
    }

    /// What learns nothing computes each call as a run of its density does; the greater of two counts.
    @Test(arguments: methods)
    func everyCallHasTheDensityOfItsStepAndLayer(method: String) throws {
        let scheduled = try run(
            method, ["dense-steps": "1", "density-steps": "4:1", "density-layers": "1:\(other(method))"], density: 0.75)
        let learns = !scheduled.context.configuration.method.learns.isEmpty
        let plain = try [0.75, other(method), 1].map { try run(method, ["dense-steps": "1"], density: $0) }
        for step in 0..<loop {
            for layer in 0..<3 where !learns {
                let right = plain[step < 4 ? 2 : layer < 1 ? 1 : 0]
                #expect(scheduled.values[step][layer] == right.values[step][layer], "step \(step), layer \(layer)")
            }
        }
        let predicted = scheduled.context.predictedWork(calls: Array(repeating: 2, count: loop), layers: 3)
        #expect(!predicted.isUpperBound && abs(predicted.share - scheduled.context.statistics.work) < 0.06)
    }

    /// What was measured at one density serves no other, and the estimate knows it.
    @Test(arguments: [("rettention", ["refresh-every": "100"]), ("adaspa", ["block": "15", "refresh-every": "100"])])
    func aNewDensityIsMeasuredAnew(method: String, options: [String: String]) throws {
        let steps = ["dense-steps": "1", "density-steps": "4:1+6:0.9"]
        let context = try run(method, options.merging(steps) { $1 }, density: 0.75).context
        let learned = context.statistics.rows.filter { $0.layer == 1 && $0.step >= 4 && $0.fullCalls > 0 }
        #expect(learned.map(\.step) == [4, 6])
        let predicted = context.predictedWork(calls: Array(repeating: 2, count: loop), layers: 3)
        #expect(abs(predicted.share - context.statistics.work) < 0.03)
    }

    @Test func aDensityOutOfReachIsRefusedBeforeTheRun() throws {
        let method = try MethodExample("radial", ["density-steps": "50%:0.001"], density: 0.9).configured()
        let error = #expect(throws: AttentionError.self) { try AttentionContext(method, layout: layout) }
        #expect(error?.setting == "density")
    }
}
