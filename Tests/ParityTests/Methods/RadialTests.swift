import Foundation
import Testing
import TestSupport
import VDiT

/// Radial computes the masks of mit-han-lab/radial-attention.
@Suite struct RadialParity {
    /// A mask of the golden file over the video's blocks: `empty-rows` cases include the reference's flaw.
    @Test(arguments: [
        "wan14b_768x1280x69", "wan_12x450_b128_padded", "wan_12x512_b128_decay0.05",
        "wan_12x512_b128_decay0.3", "wan_12x512_b128_decay0.6", "wan_12x512_b128_decay1.0",
        "wan_12x512_b128_decay1.5", "wan_18x384_b128", "wan_1x512_b64", "wan_24x100_b128_padded",
        "wan_2x256_b64", "wan_40x200_b64", "wan_480x832x81_padded32768", "wan_64x128_b64",
        "wan_720x1280x61", "wan_8x256_b128", "wan_8x440_b64_emptyrow", "hy_13x1350_b128_text226",
        "hy_16x300_b64_text192", "hy_8x440_b64_emptyrow",
    ])
    func goldenMaskIsReproducedBitForBit(name: String) throws {
        let golden = try MethodGolden("radial_masks_a")
        let parameters = try #require(golden.cases().first { $0.name == name }).parameters
        let frames = try #require(parameters["num_frames"] as? Int)
        let frame = try #require(parameters["tokens_per_frame"] as? Int)
        let block = try #require(parameters["block_size"] as? Int)
        let decay = try #require(parameters["decay_factor"] as? Double)
        let blocks = try #require(parameters["num_blocks"] as? Int)
        let expected = try golden.mask(name, columns: blocks)

        let method = try MethodChoice(
            "radial",
            options: [
                "preset": "reference", "decay": "\(decay)", "block": "\(block)",
                "sink": parameters["model_type"] as? String == "wan" ? "on" : "off",
            ]
        ).configured()
        // Text, where a case has it, fills the blocks from `border` on, which are dense.
        let planner = try method.planner(for: TokenLayout(frames: frames, height: 1, width: frame))
        let mask = MethodCase.blockMask(try #require(planner.layoutPlan).heads[0])
        let border = frames * frame / block
        for (row, keeps) in expected.enumerated() {
            if row < mask.count {
                #expect(Array(keeps.prefix(mask.count)) == mask[row], "row \(row)")
            }
            for column in 0..<blocks where row >= border || column >= border { #expect(keeps[column]) }
        }
        #expect(mask.count == blocks || mask.count == (frames * frame + block - 1) / block)
    }

    @Test func emptyRowsOfTheReferenceAreRepairedUnlessAskedFor() throws {
        for (edges, empty) in [("reference", [13]), ("repaired", []), ("own", [])] {
            let method = try MethodChoice(
                "radial", options: ["decay": "0.2", "block": "64", "edges": edges, "sink": "off"]
            ).configured()
            let planner = try method.planner(for: TokenLayout(frames: 8, height: 1, width: 440))
            let head = try #require(planner.layoutPlan).heads[0]
            #expect((0..<head.queryBlocks).filter { head.kept($0).isEmpty } == empty, "\(edges)")
        }
    }

    @Test func edgesAgreeWhereFramesFillWholeBlocks() throws {
        let plans = try ["own", "repaired", "reference"].map { edges in
            let method = try MethodChoice(
                "radial", options: ["decay": "0.3", "block": "64", "edges": edges]
            ).configured()
            return try method.planner(for: TokenLayout(frames: 11, height: 16, width: 24)).layoutPlan
        }
        #expect(plans[0] == plans[1] && plans[1] == plans[2])
    }

    /// Densities of the specification's table, video blocks alone.
    @Test(arguments: zip(
        [2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64],
        [1.0, 0.95833, 0.92969, 0.84896, 0.78906, 0.69010, 0.62207, 0.52257, 0.45386, 0.36296, 0.30560]))
    func densityFallsWithFramesAsPublished(frames: Int, density: Double) throws {
        let method = try MethodChoice(
            "radial", options: ["preset": "reference", "sink": "off"]
        ).configured()
        let layout = TokenLayout(frames: frames, height: 32, width: 32)
        let found = try #require(method.planner(for: layout).layoutPlan).density(tokens: layout.tokens)
        #expect(abs(found - density) < 1e-5)
        // The paper's bound, of tokens: 4 s² F log₂ F.
        if frames > 2 { #expect(found * Double(frames) <= 4 * log2(Double(frames))) }
    }
}
