import Testing
import TestSupport
import VDiT

/// Video sparse attention computes what FastVideo's definition says.
@Suite struct VideoSparseAttentionParity {
    static let layout = TokenLayout(frames: 5, height: 6, width: 7)

    @Test(arguments: [0.0, 0.5, 0.8], InstructionSet.supported)
    func goldenMasksAndOutputsAreReproduced(sparsity: Double, set: InstructionSet) throws {
        let golden = try SafetensorsReader(Golden.path("few-step/vsa-5x6x7/io.safetensors"))
        func heads(_ name: String) throws -> Tensor { try golden.tensor(name)[0] }
        let call = MethodCase.call(
            q: try heads("q"), k: try heads("k"), v: try heads("v"),
            gate: Golden.swappingFirstAxes(try heads("gate")), layout: Self.layout, instructionSet: set)
        let method = try MethodChoice("vsa", options: ["sparsity": "\(sparsity)"]).configured()
        var state = MethodState()
        let plan = try method.planner(for: Self.layout).plan(call, &state)
        let order = try golden.tensor("tile_order").wholeNumbers.map { $0.map(Int32.init) }
        let masks = try golden.tensor("mask.sparsity\(sparsity)")[0]
        for (index, head) in plan.heads.enumerated() {
            #expect(head.queryOrder == order && head.keyOrder == order)
            let mask = masks[index].withBytes { $0.map { $0 == 1 } }
            #expect(MethodCase.blockMask(head).flatMap { $0 } == mask, "head \(index)")
        }
        let output = try AttentionContext(method, layout: Self.layout).attend(call).values
        let expected = Golden.swappingFirstAxes(try heads("output.sparsity\(sparsity)"))
        #expect(MethodCase.distance(output.floats(), expected.floats()) < 2e-5)
    }

    @Test func theNumberOfTilesIsThePapersProduct() throws {
        // (1 - 0.7) * 10 is a little more than 3.
        let layout = TokenLayout(frames: 4, height: 4, width: 40)
        for (sparsity, kept) in [("0.7", 4), ("0.8", 2), ("0.999", 1), ("0", 10)] {
            var random = SeededRandom.fresh()
            var state = MethodState()
            let plan = try MethodChoice("vsa", options: ["sparsity": sparsity]).configured().planner(for: layout)
                .plan(MethodCase.call(layout, &random), &state)
            #expect(plan.heads.allSatisfy { head in (0..<10).allSatisfy { head.kept($0).count == kept } })
        }
    }

    @Test func equalScoresKeepTheLowerTile() throws {
        let layout = TokenLayout(frames: 4, height: 8, width: 12)
        let zeros = Tensor(.f32, [1, layout.tokens, 16])
        let call = MethodCase.call(
            q: zeros, k: zeros, v: zeros, gate: Golden.swappingFirstAxes(zeros), layout: layout)
        var state = MethodState()
        let plan = try MethodChoice("vsa", options: ["sparsity": "0.5"]).configured().planner(for: layout)
            .plan(call, &state)
        #expect(Array(plan.heads[0].kept(5)) == [0, 1, 2])
    }

    @Test func callsWithoutGatesAreRefused() throws {
        var random = SeededRandom.fresh()
        let operands = MethodCase.call(Self.layout, &random)
        let bare = MethodCase.call(q: operands.q, k: operands.k, v: operands.v, layout: Self.layout)
        let method = try MethodChoice("vsa").configured()
        let error = #expect(throws: AttentionError.self) {
            try AttentionContext(method, layout: Self.layout).attend(bare)
        }
        #expect(error?.kind == .unsupported)
        let context = try AttentionContext(method, layout: Self.layout, fallback: .dense)
        _ = try context.attend(bare)
        #expect(context.statistics.total.fallbackCalls == 1)
    }
}
