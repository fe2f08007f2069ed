import VditFiles
import VditTensor

/// The shape of an `AutoencoderKLWan`, as its `config.json` states it.
public struct WanVAEConfig: Sendable, Equatable {
    public var baseDim: Int
    public var decoderBaseDim: Int
    /// Latent channels.
    public var zDim: Int
    /// Channels of each level, in multiples of the base.
    public var dimMult: [Int]
    public var numResBlocks: Int
    /// Whether the encoder's levels, all but the last, halve time; the decoder uses it reversed.
    public var temporalDownsample: [Bool]
    /// Wan 2.2: averaging and duplicating shortcuts around each level.
    public var isResidual: Bool
    /// Channels of the pixels, after patches are folded in.
    public var inChannels: Int
    public var outChannels: Int
    /// Pixels folded into channels, in height and in width (1: none).
    public var patchSize: Int
    public var latentsMean: [Float]
    public var latentsStd: [Float]

    /// The VAE of Wan 2.1 and of the 2.2 A14B models, with the given normalisation.
    public init(
        baseDim: Int = 96, decoderBaseDim: Int? = nil, zDim: Int = 16, dimMult: [Int] = [1, 2, 4, 4],
        numResBlocks: Int = 2, temporalDownsample: [Bool] = [false, true, true], isResidual: Bool = false,
        inChannels: Int = 3, outChannels: Int = 3, patchSize: Int = 1, latentsMean: [Float],
        latentsStd: [Float]
    ) {
        self.baseDim = baseDim
        self.decoderBaseDim = decoderBaseDim ?? baseDim
        self.zDim = zDim
        self.dimMult = dimMult
        self.numResBlocks = numResBlocks
        self.temporalDownsample = temporalDownsample
        self.isResidual = isResidual
        self.inChannels = inChannels
        self.outChannels = outChannels
        self.patchSize = patchSize
        self.latentsMean = latentsMean
        self.latentsStd = latentsStd
    }

    /// The released VAE of Wan 2.1 and of the 2.2 A14B models.
    public static let wan21 = WanVAEConfig(
        latentsMean: [
            -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517,
            -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
        ],
        latentsStd: [
            2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652, 1.5579,
            1.6382, 1.1253, 2.8251, 1.9160,
        ])

    /// The released VAE of the 2.2 TI2V 5B model.
    public static let wan22 = WanVAEConfig(
        baseDim: 160, decoderBaseDim: 256, zDim: 48, temporalDownsample: [false, true, true], isResidual: true,
        inChannels: 12, outChannels: 12, patchSize: 2,
        latentsMean: [
            -0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557, -0.1382, 0.0542,
            0.2813, 0.0891, 0.157, -0.0098, 0.0375, -0.1825, -0.2246, -0.1207, -0.0698, 0.5109, 0.2665,
            -0.2108, -0.2158, 0.2502, -0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799,
            -0.123, -0.0313, -0.1649, 0.0117, 0.0723, -0.2839, -0.2083, -0.052, 0.3748, 0.0152, 0.1957,
            0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667,
        ],
        latentsStd: [
            0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.499, 0.4818, 0.5013, 0.8158, 1.0344, 0.5894,
            1.0901, 0.6885, 0.6165, 0.8454, 0.4978, 0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146,
            0.8986, 0.5659, 0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093, 0.5709,
            0.6065, 0.6415, 0.4944, 0.5726, 1.2042, 0.5458, 1.6887, 0.3971, 1.06, 0.3943, 0.5537,
            0.5444, 0.4089, 0.7468, 0.7744,
        ])

    /// - Throws: `FileError.malformed` naming the key that is missing, out of range or not supported.
    public init(_ file: ConfigFile) throws(FileError) {
        func fail(_ field: String, _ found: String, _ expected: String) -> FileError {
            .malformed(path: file.path, field: field, found: found, expected: expected)
        }
        if try file.stringIfPresent("_class_name") != nil {
            _ = try file.string("_class_name", oneOf: ["AutoencoderKLWan"])
        }
        baseDim = try file.integerIfPresent("base_dim", 1...4096) ?? 96
        decoderBaseDim = try file.integerIfPresent("decoder_base_dim", 1...4096) ?? baseDim
        zDim = try file.integerIfPresent("z_dim", 1...1024) ?? 16
        let mult = try file.numbersIfPresent("dim_mult") ?? [1, 2, 4, 4]
        dimMult = mult.compactMap { Int(exactly: $0) }.filter { 1...64 ~= $0 }
        guard dimMult.count == mult.count, 1...6 ~= dimMult.count else {
            throw fail("dim_mult", "\(mult)", "one to six whole numbers from 1 to 64")
        }
        numResBlocks = try file.integerIfPresent("num_res_blocks", 1...16) ?? 2
        temporalDownsample = try file.boolsIfPresent("temperal_downsample") ?? [false, true, true]
        guard temporalDownsample.count == dimMult.count - 1 else {
            throw fail(
                "temperal_downsample", "\(temporalDownsample.count) values",
                "\(dimMult.count - 1), one less than dim_mult")
        }
        isResidual = try file.boolIfPresent("is_residual") ?? false
        inChannels = try file.integerIfPresent("in_channels", 1...1024) ?? 3
        outChannels = try file.integerIfPresent("out_channels", 1...1024) ?? 3
        patchSize = try file.integerIfPresent("patch_size", 1...8) ?? 1
        for (field, channels) in [("in_channels", inChannels), ("out_channels", outChannels)]
        where channels != 3 * patchSize * patchSize {
            throw fail(field, "\(channels)", "\(3 * patchSize * patchSize) with patch_size \(patchSize)")
        }
        if let scales = try file.numbersIfPresent("attn_scales"), !scales.isEmpty {
            throw fail("attn_scales", "\(scales)", "an empty list")
        }
        latentsMean = try file.perChannel("latents_mean", zDim)
        latentsStd = try file.perChannel("latents_std", zDim, positive: true)
        for (base, field) in [(baseDim, "base_dim"), (decoderBaseDim, "decoder_base_dim")]
        where !isResidual && dimMult.contains(where: { base * $0 % 2 != 0 }) {
            throw fail(field, "\(base)", "an even number: upsampling halves the channels")
        }
        for (field, own) in [
            ("scale_factor_spatial", spatialCompression), ("scale_factor_temporal", temporalCompression),
        ] { try file.stated(field, own, by: "the levels and patch_size") }
    }

    /// Pixels per latent pixel, in height and in width.
    public var spatialCompression: Int { patchSize << (dimMult.count - 1) }
    /// Video frames per latent frame after the first.
    public var temporalCompression: Int { 1 << temporalDownsample.count(where: { $0 }) }

    /// Every tensor of the checkpoint and its shape.
    public var tensors: [(name: String, shape: [Int])] {
        encoderStages.tensors + decoderStages.tensors
    }

    /// Multiply-adds of a decode, each counted as 2: convolutions and the attention within frames.
    ///
    /// - Parameters:
    ///   - height: pixels, as is `width`.
    ///   - frames: latent frames.
    public func decodeFLOPs(height: Int, width: Int, frames: Int) -> Double {
        decoderStages.flops(
            VAEClip(
                frames: frames, height: height / spatialCompression, width: width / spatialCompression))
    }

    /// What a decode of frames of this many pixels holds at most beside the weights.
    public func decodeBytes(height: Int, width: Int, operandBytes: Int) -> Int {
        let latent = VAEClip(
            frames: 1, height: height / spatialCompression, width: width / spatialCompression)
        let video = 2 * 3 * height * width * 4
        return decoderStages.bytes(latent, operandBytes: operandBytes) + video
    }
}
