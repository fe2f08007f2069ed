import Testing
@testable import VditModels
@testable import VditTensor

/// What a decode holds, which its estimate is to tell before.
@Suite struct DecodeMemoryTests {
    static func config(isResidual: Bool) -> WanVAEConfig {
        WanVAEConfig(
            baseDim: 32, decoderBaseDim: 32, zDim: 16, isResidual: isResidual, inChannels: isResidual ? 12 : 3,
            outChannels: isResidual ? 12 : 3, patchSize: isResidual ? 2 : 1,
            latentsMean: Array(repeating: 0, count: 16), latentsStd: Array(repeating: 1, count: 16))
    }

    @Test(arguments: [false, true], [Precision.fp32, .bf16])
    func aDecodeHoldsWhatItsEstimateSays(_ isResidual: Bool, _ precision: Precision) throws {
        let compute = try ComputeContext(threads: 2, precision: precision)
        let config = Self.config(isResidual: isResidual)
        let stages = try LoadedVAEStages(config.decoderStages, from: RandomWeights(config.tensors, seed: 1), compute)
        let pool = TensorPool(reclaims: true)
        let (height, width) = (24, 32)
        let chain = try stages.start(
            height: height, width: width, session: VAESession(compute: compute, trace: nil, tensors: pool))
        let latent = Tensor(Array(repeating: 0.5, count: height * width * 16), shape: [height, width, 16])
        var frames = 0
        for number in 0..<4 { try chain.push([latent], isFirst: number == 0) { frames += $0.count } }
        #expect(frames == 1 + 3 * config.temporalCompression)
        let estimate = Double(
            config.decoderStages.bytes(
                VAEClip(frames: 1, height: height, width: width), operandBytes: compute.operandType.byteCount))
        // After the last frame, when some of what was held at most may have been given back.
        let held = Double(pool.byteCount)
        #expect(held < 1.15 * estimate && held > 0.75 * estimate, "\(held) of \(estimate)")
    }

    @Test func aPoolThatReclaimsHoldsNoIdleSizesBesideNewOnes() {
        let (keeping, reclaiming) = (TensorPool(), TensorPool(reclaims: true))
        for pool in [keeping, reclaiming] {
            _ = pool.tensor(.f32, [1024])
            _ = pool.tensor(.f32, [4096])
        }
        #expect(keeping.byteCount == 4 * (1024 + 4096))
        #expect(reclaiming.byteCount == 4 * 4096)
        let used = reclaiming.tensor(.f32, [4096])
        _ = reclaiming.tensor(.f32, [1024])
        #expect(reclaiming.byteCount == 4 * (1024 + 4096) && used.count == 4096)
    }
}
