import Testing
import TestSupport
import VDiT

/// What a streamed VAE promises whatever the weights.
@Suite struct WanVAEStreamTests {
    static let models = ["wan21-base6", "wan22-residual-base4-4"]

    static func vae(
        _ name: String, threads: Int = 2, _ precision: Precision = .fp32
    ) throws -> WanVAE {
        try WanVAE(
            directory: Golden.path("wan-vae/\(name)"), use: .both,
            compute: ComputeContext(threads: threads, precision: precision))
    }

    static func latents(_ vae: WanVAE, frames: Int, height: Int, width: Int, seed: UInt64) -> Tensor {
        var random = SeededRandom(seed: seed)
        return AttentionCase.normal([vae.config.latentChannels, frames, height, width], .f32, &random)
    }

    static func frames(_ vae: WanVAE, _ latents: Tensor) throws -> [[Float]] {
        var frames: [[Float]] = []
        try vae.decode(latents) { frames += $0.map { $0.floats() } }
        return frames
    }

    @Test(arguments: models, [Precision.fp32, .bf16])
    func oneThreadAndTwoGiveTheSameBits(_ name: String, _ precision: Precision) throws {
        let one = try Self.vae(name, threads: 1, precision)
        let two = try Self.vae(name, threads: 2, precision)
        let latents = Self.latents(one, frames: 3, height: 9, width: 7, seed: 11)
        #expect(try Self.frames(one, latents) == Self.frames(two, latents))
    }

    @Test(arguments: models, [Precision.fp32, .bf16])
    func aLongerClipStartsLikeAShorterOne(_ name: String, _ precision: Precision) throws {
        let vae = try Self.vae(name, precision)
        let long = Self.latents(vae, frames: 4, height: 3, width: 5, seed: 12)
        let all = try Self.frames(vae, long)
        #expect(all.count == 1 + 3 * vae.config.temporalCompression)
        for count in 1...3 {
            let short = Tensor(.f32, [vae.config.latentChannels, count, 3, 5])
            for channel in 0..<vae.config.latentChannels {
                short[channel].assign(long[channel].slice(0..<count))
            }
            let frames = 1 + (count - 1) * vae.config.temporalCompression
            #expect(try Self.frames(vae, short) == Array(all.prefix(frames)))
        }
    }

    @Test(arguments: models)
    func decodingTwiceGivesTheSameBits(_ name: String) throws {
        let vae = try Self.vae(name)
        let latents = Self.latents(vae, frames: 2, height: 4, width: 4, seed: 13)
        #expect(try Self.frames(vae, latents) == Self.frames(vae, latents))
    }

    @Test func framesArriveAtMostTwoAtATime() throws {
        let vae = try Self.vae("wan21-base6")
        var counts: [Int] = []
        try vae.decode(Self.latents(vae, frames: 3, height: 2, width: 2, seed: 14)) {
            counts.append($0.count)
        }
        #expect(counts == [1, 2, 2, 2, 2])
    }

    @Test func whatTheReceiverThrowsEndsTheDecode() throws {
        struct Enough: Error {}
        let vae = try Self.vae("wan21-base6")
        var calls = 0
        #expect(throws: Enough.self) {
            try vae.decode(Self.latents(vae, frames: 3, height: 2, width: 2, seed: 15)) { _ in
                calls += 1
                if calls == 2 { throw Enough() }
            }
        }
        #expect(calls == 2)
    }

    /// Sizes around a tile's: one latent pixel, odd sizes, wider than high.
    @Test(arguments: [(1, 1), (1, 13), (13, 1), (5, 17)])
    func everySizeDecodes(_ height: Int, _ width: Int) throws {
        let vae = try Self.vae("wan21-base6")
        let frames = try Self.frames(
            vae, Self.latents(vae, frames: 2, height: height, width: width, seed: 16))
        #expect(frames.allSatisfy { $0.count == 3 * 64 * height * width && $0.allSatisfy { abs($0) <= 1 } })
    }
}
