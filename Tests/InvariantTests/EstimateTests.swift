import TestSupport
import Testing
import VDiT

/// What a dry run says a render will compute.
@Suite struct EstimateTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private func renderer(_ method: String, _ options: [String: String] = [:], density: Double? = nil) throws -> Renderer {
        var job = RenderJob.sample(in: folder, width: 160, height: 96, method, options)
        job.request.density = density
        return try Renderer(job)
    }

    @Test(arguments: [
        ("dense", [:], nil), ("radial", ["dense-steps": "1", "dense-layers": "2"], 0.85),
        ("radial", ["dense-steps": "0", "dense-layers": "0", "block": "16"], nil),
        ("rettention", ["dense-steps": "1", "dense-layers": "1", "refresh-every": "2"], nil),
        (
            "radial", ["dense-steps": "1", "dense-layers": "0", "density-steps": "2:1", "density-layers": "1:1"], 0.85
        ),
        ("rettention", ["dense-steps": "0", "dense-layers": "1", "density-steps": "2:1"], 0.5),
        ("rettention", ["dense-steps": "0", "dense-layers": "0", "refresh-every": "3"], 0.5),
    ] as [(String, [String: String], Double?)])
    func whereTheSizeDecidesTheWorkIsKnownBeforehand(_ method: String, _ options: [String: String], _ density: Double?) throws {
        let renderer = try renderer(method, options, density: density)
        let work = try #require(try renderer.run().attention?.work)
        #expect(abs(renderer.estimate.attention.share - work) < 1e-9 && !renderer.estimate.attention.isUpperBound)
    }

    @Test(arguments: [("draft", nil), ("draft", 0.6), ("svg2", 0.6)] as [(String, Double?)])
    func aDensityThatWasAskedForIsCountedOn(_ method: String, _ density: Double?) throws {
        var options = ["dense-steps": "1", "dense-layers": "0"]
        if method == "draft" { options.merge(["pool-height": "2", "pool-width": "2"]) { $1 } }
        let renderer = try renderer(method, options, density: density)
        let work = try #require(try renderer.run().attention?.work)
        #expect(work < 0.9 && abs(renderer.estimate.attention.share - work) < 0.06 && !renderer.estimate.attention.isUpperBound)
    }

    @Test func whereTheMethodDecidesWhileItRunsTheEstimateIsAnUpperBound() throws {
        let renderer = try renderer("svg2", ["dense-steps": "1"])
        let dense = try self.renderer("dense").estimate
        #expect(renderer.estimate.attention == PredictedWork(share: 1, isUpperBound: true))
        #expect(renderer.estimate.totalFLOPs == dense.totalFLOPs)
        #expect(try self.renderer("radial", ["dense-steps": "0"], density: 0.85).estimate.totalFLOPs < dense.totalFLOPs)
    }

    @Test func aMethodThatSavesLessThanItCostsSaysSo() throws {
        let options = ["dense-steps": "0", "dense-layers": "0"]
        func saysSo(_ method: String, _ density: Double?) throws -> Bool {
            try renderer(method, options, density: density).notices.contains {
                $0.hasPrefix("\(method) computes ") && $0.contains("lower density")
            }
        }
        #expect(try saysSo("rettention", 1) && !saysSo("rettention", 0.5) && !saysSo("svg2", nil))
    }

    @Test(arguments: [(1, 8, 8), (3, 8, 16), (5, 4, 4)])
    func decodingCountsEveryWeightForEveryPixelAndFrame(_ frames: Int, _ height: Int, _ width: Int) {
        // One level: nothing changes size on the way.
        let config = WanVAEConfig(
            baseDim: 6, zDim: 4, dimMult: [2], numResBlocks: 1, temporalDownsample: [],
            latentsMean: [0, 0, 0, 0], latentsStd: [1, 1, 1, 1])
        let weights = config.tensors.filter { name, _ in
            name.hasSuffix(".weight") && (name.hasPrefix("decoder.") || name.hasPrefix("post_quant"))
        }.reduce(0) { $0 + $1.shape.reduce(1, *) }
        let pixels = height * width
        let attention = 2 * pixels * pixels * 12
        #expect(config.decodeFLOPs(height: height, width: width, frames: frames) == Double(2 * frames * (pixels * weights + attention)))
    }
}
