import VditTensor

/// Times a VAE's decode of random latents with random weights.
public struct DecodeBenchmark: Sendable {
    public var specification: any DecoderSpecification
    public var latents: LatentShape
    public var seed: UInt64

    public init(_ specification: any DecoderSpecification, latents: LatentShape, seed: UInt64 = 0) {
        self.specification = specification
        self.latents = latents
        self.seed = seed
    }

    public struct Result: Sendable, Codable {
        public let videoFrames: Int
        public let threads: Int
        public let timing: Timing
        public let weightBytes: Int
        /// What the specification said a decode would need beside the weights, and the threads' tiles.
        public let estimatedPeakBytes: Int
    }

    public func run(repeats: Int, _ compute: ComputeContext) throws -> Result {
        let vae = try compute.pool.asFirstWorker {
            try specification.load(RandomWeights(specification.tensors, seed: seed), compute)
        }
        var random = TorchRandom(seed: seed)
        let noise = random.normal(latents.extents, .f32)
        let size = specification.videoSize(of: latents)
        var videoFrames = 0
        let timing = try Timing(repeats: repeats) {
            videoFrames = 0
            try vae.decode(noise) { videoFrames += $0.count }
        }
        return Result(
            videoFrames: videoFrames, threads: compute.pool.threads, timing: timing,
            weightBytes: vae.weightBytes,
            estimatedPeakBytes: compute.pool.threads * (8 << 20)
                + specification.decodeBytes(
                    height: size.height, width: size.width, operandBytes: compute.operandType.byteCount))
    }
}
