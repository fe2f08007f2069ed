import Testing
import TestSupport
import VDiT

/// DraftAttention computes what shawnricecake/draft-attention computes.
@Suite struct DraftAttentionParity {
    /// `draft_empty_rows` and `draft_cfg_batch2` contain the reference's rows without any region.
    @Test(arguments: [
        "draft_wan_8x16", "draft_small_peaky", "draft_empty_rows", "draft_text", "draft_cfg_batch2",
        "draft_sparsity0",
    ], InstructionSet.supported)
    func goldenMasksAndOutputsAreReproduced(name: String, set: InstructionSet) throws {
        let golden = try MethodGolden(name)
        let (heads, dim) = (golden.integer("heads"), golden.integer("D"))
        let video = golden.integer("visual_len")
        let text = golden.integer("text_valid")
        let perItem = video + golden.integer("text_len")
        let regions = golden.integer("S")
        let layout = TokenLayout(
            frames: golden.integer("num_frames"), height: golden.integer("latent_h"),
            width: golden.integer("latent_w"), textAfter: text)
        let masks = try golden.tensor("block_mask")
        let (q, k, v) = (try golden.floats("q"), try golden.floats("k"), try golden.floats("v"))
        let reorder = try golden.integers("reorder")
        let expected = try golden.floats("out")

        for item in 0..<golden.integer("batch") {
            let planner = try MethodChoice(
                "draft",
                options: [
                    "preset": "reference", "sparsity": "\(golden.number("sparsity_ratio"))",
                    "pool-height": "\(golden.integer("pool_h"))", "pool-width": "\(golden.integer("pool_w"))",
                ]
            ).configured().planner(for: layout)
            let tokens = (0..<video + text).map { item * perItem + $0 }
            func operand(_ rows: [Float]) -> Tensor {
                MethodCase.headMajor(rows, heads: heads, dim: dim, tokens: tokens)
            }
            let call = MethodCase.call(q: operand(q), k: operand(k), v: operand(v), layout: layout, instructionSet: set)
            var state = MethodState()
            let plan = try planner.plan(call, &state)

            let sequence = masks[text > 0 ? 2 * item : item]
            for head in 0..<heads {
                let found = plan.heads[head]
                #expect(
                    found.queryOrder?.prefix(video).map { Int($0) + item * perItem }
                        == Array(reorder[item * perItem..<item * perItem + video]))
                let bytes = sequence[head].withBytes { Array($0) }
                let blocks = sequence.shape[1]
                let mask = MethodCase.blockMask(found)
                for row in 0..<regions {
                    #expect(
                        Array(mask[row].prefix(regions))
                            == (0..<regions).map { bytes[row * blocks + $0] == 1 },
                        "item \(item) head \(head) row \(row)")
                }
            }
            let out = blockSparseAttention(call, plan, values: .f32).values.floats()
            let start = item * perItem * heads * dim
            #expect(MethodCase.distance(out, Array(expected[start..<start + out.count])) < 1e-5)
        }
    }
}
