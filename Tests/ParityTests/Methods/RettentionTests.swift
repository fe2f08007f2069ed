import Testing
import TestSupport
import VDiT

/// Re-ttention computes what cccrrrccc/Re-ttention computes.
@Suite struct RettentionParity {
    /// `rettention_cog_fullmask` shows the reference's unbounded ratio.
    @Test(arguments: [
        "rettention_cog_a", "rettention_cog_cfg", "rettention_cog_fullmask", "rettention_cog_noratio",
        "rettention_pixart",
    ], InstructionSet.supported)
    func stepsFollowTheReference(name: String, set: InstructionSet) throws {
        let golden = try MethodGolden(name)
        let isImage = name.hasSuffix("pixart")
        let (heads, dim) = (golden.integer("heads"), golden.integer("D"))
        let text = golden.integer("text_tokens")
        let layout = TokenLayout(
            frames: isImage ? 1 : golden.integer("frames"), height: 1,
            width: golden.integer(isImage ? "tokens" : "frame_tokens"), textBefore: text)
        let channels = heads * dim
        let batch = isImage ? 1 : golden.integer("batch")
        // A window of w tokens of s: any share in w/s ..< (w + 1)/s gives it.
        let share = (Double(golden.integer("window")) + 0.5) / Double(layout.tokensPerFrame)
        let usesRatio = golden.parameters["use_ratio"] as? Bool ?? true
        let context = try AttentionContext(
            MethodChoice(
                "rettention",
                options: [
                    "preset": "reference", "kept": "\(min(share, 2))",
                    "growth": "\(golden.number("lambda_"))", "ratio": usesRatio ? "on" : "off",
                    "dense-steps": "\(golden.integer("warmup_full_steps"))",
                ]
            ).configured(),
            layout: layout)
        #expect(
            MethodCase.tokenMask(try #require(context.planner()?.layoutPlan).heads[0])
                == (try golden.mask("mask", columns: layout.tokens)))

        let kinds = try #require(golden.parameters["step_kinds"] as? [String])
        for (step, kind) in zip(golden.integer("first_step")..., kinds) {
            for item in 0..<batch {
                let branch: AttentionSite.Branch = item == 0 ? .conditional : .unconditional
                func operand(_ array: String) throws -> Tensor {
                    MethodCase.headMajor(
                        try golden.tensor("s\(step).\(array)")[item].floats(), heads: heads, dim: dim,
                        tokens: Array(0..<layout.tokens))
                }
                let output = try context.attend(
                    MethodCase.call(
                        q: operand("q"), k: operand("k"), v: operand("v"), layout: layout, step: step,
                        branch: branch, instructionSet: set))
                func part(_ array: String) throws -> [Float] {
                    if golden.has("s\(step).\(array)") {
                        return try golden.tensor("s\(step).\(array)")[item].floats()
                    }
                    return try golden.tensor("s\(step).\(array)_text")[item].floats()
                        + golden.tensor("s\(step).\(array)_video")[item].floats()
                }
                let values = try projected(output.values.floats(), golden, channels, bias: true)
                #expect(MethodCase.distance(values, try part("out")) < 1e-5, "step \(step) item \(item)")

                let state = context.learnedState()
                if golden.has("s\(step).ratio_after"), kind != "full" {
                    let ratio = try #require(state["\(branch.rawValue).0.ratio"]).floats()
                    let right = try golden.tensor("s\(step).ratio_after")[item].floats()
                    if usesRatio { #expect(MethodCase.distance(ratio, right) < 1e-5, "step \(step)") }
                }
                if kind == "full+cache" {
                    let residual = try #require(state["\(branch.rawValue).0.residual"]).floats()
                    let right = try part("residual")
                    #expect(
                        MethodCase.distance(try projected(residual, golden, channels, bias: false), right)
                            < 1e-5, "step \(step)")
                }
            }
        }
    }

    /// Rows through the golden's output projection, where it has one.
    private func projected(
        _ rows: [Float], _ golden: MethodGolden, _ channels: Int, bias: Bool
    ) throws -> [Float] {
        guard golden.has("out_w") else { return rows }
        let (weights, offsets) = (try golden.floats("out_w"), try golden.floats("out_b"))
        return (0..<rows.count / channels).flatMap { row in
            (0..<channels).map { column in
                var sum = bias ? Double(offsets[column]) : 0
                for i in 0..<channels {
                    sum += Double(rows[row * channels + i]) * Double(weights[column * channels + i])
                }
                return Float(sum)
            }
        }
    }
}
