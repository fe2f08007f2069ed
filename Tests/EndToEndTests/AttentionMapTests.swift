import Foundation
import Testing
import TestSupport
import VDiT

@Suite struct AttentionMapTests {
    let layout = TokenLayout(frames: 4, height: 5, width: 8, textAfter: 3)

    private func observation(_ method: String, _ options: [String: String] = [:]) throws -> AttentionContext.Observation {
        var random = SeededRandom(seed: 11)
        let qkv = (0..<3).map { _ in AttentionCase.normal([2, layout.tokens, 16], .f32, &random) }
        let context = try AttentionContext(
            MethodChoice(method, options: options).withoutWarmUp().configured(forModel: "wan"), layout: layout)
        var seen: AttentionContext.Observation?
        context.observer = { seen = $0 }
        _ = try context.attend(MethodCase.call(q: qkv[0], k: qkv[1], v: qkv[2], layout: layout))
        return try #require(seen)
    }

    @Test(arguments: ["radial", "svg2", "draft"])
    func massIsTheSoftmaxSummedOverBlocks(_ method: String) throws {
        let options = ["radial": ["block": "16"], "draft": ["pool-height": "2", "pool-width": "4"]][method] ?? [:]
        let seen = try observation(method, options)
        let call = seen.call
        let head = try #require(seen.plans.last).head(1)
        let mass = try attentionMass(call, head: 1, blocks: head)
        let (q, k) = (call.q[1].floats(), call.k[1].floats())
        let found = mass.floats()
        var kept = 0.0
        for block in 0..<head.queryBlocks {
            let positions = Int(head.queryOffsets[block])..<Int(head.queryOffsets[block + 1])
            var expected = [Double](repeating: 0, count: head.keyBlockCount)
            for position in positions {
                let query = Int(head.queryOrder?[position] ?? Int32(position))
                let weights = (0..<call.tokens).map { key in
                    exp((0..<16).reduce(0.0) { $0 + Double(q[query * 16 + $1]) * Double(k[key * 16 + $1]) } / 4)
                }
                let total = weights.reduce(0, +)
                for key in 0..<head.keyBlockCount {
                    for place in Int(head.keyOffsets[key])..<Int(head.keyOffsets[key + 1]) {
                        expected[key] += weights[Int(head.keyOrder?[place] ?? Int32(place))] / total
                    }
                }
            }
            for key in 0..<head.keyBlockCount {
                let mean = expected[key] / Double(positions.count)
                #expect(abs(Double(found[block * head.keyBlockCount + key]) - mean) < 1e-5)
            }
            kept += head.kept(block).reduce(0.0) { $0 + expected[Int($1)] }
        }
        // What the mask keeps of it is the recall of the report.
        #expect(abs(AttentionMap(of: seen).heads[1].recall - kept / Double(call.tokens)) < 1e-5)
    }

    @Test func denseKeepsAllMassAndAllOfTheOutput() throws {
        let map = AttentionMap(of: try observation("dense"))
        #expect(map.heads.allSatisfy { abs($0.recall - 1) < 1e-6 && $0.relativeError < 1e-6 && $0.density == 1 })
        #expect(map.totalError < 1e-6)
    }

    @Test func errorIsThatOfTheCorrectedOutput() throws {
        // A refresh gives dense attention, whatever its window keeps.
        let map = AttentionMap(of: try observation("rettention"))
        #expect(map.totalError < 1e-5)
        #expect(map.heads.allSatisfy { $0.density < 1 && $0.recall < 0.99 })
    }

    @Test func filesHoldThePictureAndTheNumbers() throws {
        let folder = try TemporaryDirectory()
        let seen = try observation("radial", ["block": "16"])
        let map = AttentionMap(of: seen)
        try map.write(to: folder.path("one.png"), head: 0, scale: .log, existing: .refuse)
        try map.write(to: folder.path("all.png"), order: .tokens, existing: .refuse)
        try map.write(to: folder.path("map.safetensors"), existing: .refuse)
        let one = try PNG.read(folder.path("one.png")).samples.shape
        #expect(one[0] >= 512 && one[1] >= 3 * 512)
        let file = try SafetensorsReader(folder.path("map.safetensors"))
        let head = try #require(seen.plans.last).head(1)
        #expect(try file.tensor("mass.1").shape == [head.queryBlocks, head.keyBlockCount])
        #expect(try file.tensor("recall").floats().count == 2)
        #expect(try file.tensor("mask.1").shape == [head.queryBlocks, head.keyBlockCount])

        // What was looked at can be attended again.
        try map.writeOperands(to: folder.path("qkv.safetensors"), existing: .refuse)
        let job = try AttendJob(
            method: MethodChoice("radial", options: ["block": "16"]), layout: layout,
            inputs: folder.path("qkv.safetensors"), output: folder.path("out.safetensors"))
        _ = try job.run()
        let again = Golden.swappingFirstAxes(try SafetensorsReader(job.output).tensor("values"))
        #expect(again.floats() == seen.output.values.floats())
    }
}
