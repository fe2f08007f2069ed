import VditTensor

/// Times a VAE's decode of random latents with random weights.
public struct DecodeBenchmark: Sendable {
    public var config: WanVAEConfig
    /// Latent extents.
    public var frames: Int
    public var height: Int
    public var width: Int
    public var seed: UInt64

    public init(config: WanVAEConfig, frames: Int, height: Int, width: Int, seed: UInt64 = 0) {
        self.config = config
        self.frames = frames
        self.height = height
        self.width = width
        self.seed = seed
    }

    public struct Result: Sendable, Codable {
        public let videoFrames: Int
        public let threads: Int
        public let timing: Timing
        public let weightBytes: Int
        /// What the decoder said it would need beside the weights.
        public let estimatedPeakBytes: Int
    }

    public func run(repeats: Int, _ compute: ComputeContext) throws -> Result {
        let vae = try WanVAE(
            config: config, weights: RandomWeights(config.tensors, seed: seed), compute: compute)
        var random = TorchRandom(seed: seed)
        let latents = random.normal([config.zDim, frames, height, width], .f32)
        var videoFrames = 0
        let timing = try Timing(repeats: repeats) {
            videoFrames = 0
            try vae.decode(latents) { videoFrames += $0.shape[1] }
        }
        return Result(
            videoFrames: videoFrames, threads: compute.pool.threads, timing: timing,
            weightBytes: vae.weightBytes,
            estimatedPeakBytes: vae.estimatedPeakBytes(
                height: height * vae.spatialCompression, width: width * vae.spatialCompression))
    }
}
