import Foundation
import Testing
import TestSupport
import VDiT

/// What VAEs made of stages promise whatever the weights.
@Suite struct StagedVAEStreamTests {
    private static func latents(_ golden: StagedVAEGolden, frames: Int, height: Int = 3, width: Int = 5) -> Tensor {
        var random = SeededRandom(seed: 21)
        return AttentionCase.normal([golden.specification.latentChannels, frames, height, width], .f32, &random)
    }

    private static func frames(
        _ golden: StagedVAEGolden, _ latents: Tensor, threads: Int = 2, _ precision: Precision = .fp32,
        tiling: VAETiling? = nil
    ) throws -> [[Float]] {
        var frames: [[Float]] = []
        let decoder = try golden.decoder(ComputeContext(threads: threads, precision: precision))
        try decoder.decode(latents, tiling: tiling) { frames += $0.map { $0.floats() } }
        return frames
    }

    @Test(arguments: StagedVAEGolden.names, [Precision.fp32, .bf16])
    func oneThreadAndTwoGiveTheSameBits(_ name: String, _ precision: Precision) throws {
        let golden = try StagedVAEGolden(name)
        let latents = Self.latents(golden, frames: 3)
        #expect(try Self.frames(golden, latents, threads: 1, precision) == Self.frames(golden, latents, precision))
    }

    /// As many frames as the specification says, a few at a time, of every number of latent frames and odd sizes.
    @Test(arguments: StagedVAEGolden.names)
    func everySizeDecodes(_ name: String) throws {
        let golden = try StagedVAEGolden(name)
        let decoder = try golden.decoder(ComputeContext(threads: 2, precision: .fp32))
        let channels = golden.specification.latentChannels
        for (count, height, width) in [(1, 1, 1), (2, 1, 3), (3, 5, 1), (4, 2, 3), (5, 1, 2), (6, 2, 1), (7, 1, 1)] {
            let size = golden.specification.videoSize(
                of: LatentShape(channels: channels, frames: count, height: height, width: width))
            var made = 0
            try decoder.decode(Self.latents(golden, frames: count, height: height, width: width)) { frames in
                #expect(frames.count <= 13 && frames.allSatisfy { $0.shape == [size.height, size.width, 3] })
                #expect(frames.allSatisfy { $0.floats().allSatisfy { abs($0) <= 1 } })
                made += frames.count
            }
            #expect(made == size.numFrames, "\(count) latent frames")
        }
    }

    /// Where statistics are of one frame, a longer clip starts as a shorter one does; where they are of the frames that
    /// enter together, as one that is cut in the same place.
    @Test(arguments: [("mochi-vae/asymmetric", 2, 4, 7), ("cogvideox-vae/conv-cache-spatial-norm", 3, 5, 9)])
    func aLongerClipStartsLikeAShorterOne(_ name: String, _ short: Int, _ long: Int, _ count: Int) throws {
        let golden = try StagedVAEGolden(name)
        let whole = Self.latents(golden, frames: long)
        let part = Tensor(.f32, [whole.shape[0], short] + whole.shape.dropFirst(2))
        for channel in 0..<whole.shape[0] { part[channel].assign(whole[channel].slice(0..<short)) }
        let frames = try Self.frames(golden, part)
        #expect(frames.count == count)
        #expect(try Array(Self.frames(golden, whole).prefix(count)) == frames)
    }

    /// Tiles that hold the frame, and none, are the same decode; smaller ones are another.
    @Test(arguments: StagedVAEGolden.names)
    func tilesThatHoldAFrameChangeNothing(_ name: String) throws {
        let golden = try StagedVAEGolden(name)
        let latents = Self.latents(golden, frames: 2)
        let whole = try Self.frames(golden, latents)
        #expect(try Self.frames(golden, latents, tiling: VAETiling()) == whole)
        let small = VAETiling(tileHeight: 16, tileWidth: 16, strideHeight: 8, strideWidth: 8)
        let tiled = try Self.frames(golden, latents, tiling: small)
        #expect(tiled.count == whole.count && tiled != whole)
        #expect(throws: ModelError.self) {
            try Self.frames(
                golden, latents, tiling: VAETiling(tileHeight: 16, tileWidth: 16, strideHeight: 4, strideWidth: 8))
        }
    }

    /// A picture's latents: the mean without noise, and as the models were trained.
    @Test func latentsAreDrawnFromTheDistribution() throws {
        let golden = try StagedVAEGolden("cogvideox-vae/conv-cache-spatial-norm")
        let compute = try ComputeContext(threads: 2, precision: .fp32)
        let picture = try golden.io.tensor("encode1.input.video")[0]
        let encoder = try golden.encoder(compute)
        let (mean, logVariance) = try encoder.distribution(of: picture)
        let noise = Tensor(Array(repeating: Float(2), count: mean.count), shape: mean.shape)
        let (mode, drawn) = (try encoder.encode(picture, noise: nil), try encoder.encode(picture, noise: noise))
        let variances = logVariance.floats()
        for (index, value) in mean.floats().enumerated() {
            #expect(abs(mode.floats()[index] - 0.7 * value) < 1e-6)
            let expected = 0.7 * (value + 2 * Float(pow(2.718281828, Double(variances[index]) / 2)))
            #expect(abs(drawn.floats()[index] - expected) < 1e-4 * max(1, abs(expected)))
        }
        var config = try #require(golden.specification as? CogVideoXVAEConfig)
        config.dividesPictures = true
        let divided = try config.loadEncoder(WeightStore(golden.folder), compute)?.encode(picture, noise: nil)
        let values = try #require(divided).floats()
        #expect(zip(values, mean.floats()).allSatisfy { abs($0 - $1 / 0.7) < 1e-5 })
    }

    /// Pieces that overlap, so that a frame counts for those latents only whose piece it lies in.
    @Test func aLongClipIsEncodedInPieces() throws {
        let golden = try StagedVAEGolden("hunyuan-vae/causal-groupnorm-mid-attention")
        var random = SeededRandom(seed: 5)
        let video = AttentionCase.normal([3, 29, 8, 16], .f32, &random)
        let encoder = try golden.encoder(ComputeContext(threads: 2, precision: .fp32))
        let whole = try encoder.distribution(of: video).mean
        #expect(whole.shape == [16, 8, 1, 2])
        // Pieces begin at 0, 12 and 24 and hold 17 frames: what changes reaches those it lies in.
        var changed = video.copy()
        for channel in 0..<3 { changed[channel].slice(26..<29).fill(byte: 0) }
        let other = try encoder.distribution(of: changed).mean
        for channel in 0..<16 {
            #expect(whole[channel].slice(0..<4).floats() == other[channel].slice(0..<4).floats())
        }
        changed = video.copy()
        for channel in 0..<3 { changed[channel].slice(0..<1).fill(byte: 0) }
        let late = try encoder.distribution(of: changed).mean
        #expect(late[0].slice(7..<8).floats() == whole[0].slice(7..<8).floats())
        #expect(late[0].slice(0..<1).floats() != whole[0].slice(0..<1).floats())
    }
}
