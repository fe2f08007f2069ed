import VditTensor

/// The shape of a tiny autoencoder's decoder, as its tensors state it: a few convolutions of each frame and the one
/// before it, at a tenth and less of a VAE's work, and a little less sharp.
///
/// It decodes what the model makes, latents as the sampler has them, to frames of its own; a file tells neither which
/// model's latents it was trained on nor how they are normalised. Its encoder is not used: what a video begins with needs
/// the model's own VAE.
/// - Source: TAEHV, github.com/madebyollin/taehv (`taew2_1`, `taew2_2`, `taehv`); stable-diffusion.cpp and LightX2V
///   read the same files.
public struct TinyVAEConfig: Sendable, Equatable {
    public var latentChannels: Int
    /// Channels at the latents' resolution, at two and four times it, and of the video's.
    public var widths: [Int]
    /// Frames that are made of each where height and width double.
    public var timeFactors: [Int]
    /// Pixels that are folded into channels, in height and in width.
    public var patch: Int

    /// Families whose latents have a tiny autoencoder of this kind.
    static let families = ["wan", "hunyuan-video"]

    /// The released ones: `taew2_1` and `taehv`, and with 48 channels and a patch of 2 `taew2_2`.
    public init(latentChannels: Int = 16, patch: Int = 1) {
        (self.latentChannels, self.patch) = (latentChannels, patch)
        widths = [256, 128, 64, 64]
        timeFactors = [1, 2, 2]
    }

    /// Whether tensors are of such a decoder.
    static func names(_ shapes: TensorShapes) -> Bool {
        shapes["decoder.1.weight"] != nil && shapes["decoder.3.conv.0.weight"] != nil
            && shapes["decoder.22.weight"] != nil
    }

    /// - Throws: `ModelError.invalid` naming the tensor that no such decoder has.
    init(_ shapes: TensorShapes) throws(ModelError) {
        func refused(_ name: String, _ expected: String) -> ModelError {
            .invalid("tensor \(name)", found: "shape \(shapes[name] ?? [])", expected: expected, kind: .badData)
        }
        latentChannels = try shapes.size("decoder.1.weight", 1)
        widths = [try shapes.size("decoder.1.weight", 0)]
        timeFactors = []
        for (grow, convolution) in Self.growing {
            let (name, width) = ("decoder.\(grow).conv.weight", widths[widths.count - 1])
            let made = try shapes.size(name, 0)
            guard made == width || made == 2 * width else {
                throw refused(name, "[\(width) or \(2 * width), \(width), 1, 1]")
            }
            timeFactors.append(made / width)
            widths.append(try shapes.size("decoder.\(convolution).weight", 0))
        }
        let last = "decoder.22.weight"
        let pixels = try shapes.size(last, 0)
        guard let patch = [1, 2, 4].first(where: { 3 * $0 * $0 == pixels }) else {
            throw refused(last, "[3, 12 or 48, \(widths[widths.count - 1]), 3, 3]")
        }
        self.patch = patch
        guard (widths + [latentChannels]).allSatisfy({ $0 <= 4096 }) else {
            throw refused("decoder.1.weight", "at most 4096 channels")
        }
    }

    /// Places in the list of layers where frames grow: what makes frames of one, and the convolution after it.
    static let growing = [(7, 8), (13, 14), (19, 20)]
}

extension TinyVAEConfig: StagedVAESpecification {
    public var spatialCompression: Int { 8 * patch }
    public var temporalCompression: Int { timeFactors.reduce(1, *) }
    public var hasEncoder: Bool { false }

    public var tensors: [(name: String, shape: [Int])] { decoderStages.tensors }

    public var summary: String {
        "\(latentChannels) latent channels, \(spatialCompression)× in space, \(temporalCompression)× in time"
    }

    public var configuration: [String: ConfigurationValue] {
        [
            "_class_name": .text("TAEHV"), "latent_channels": .integer(latentChannels), "widths": .integers(widths),
            "time_factors": .integers(timeFactors), "patch_size": .integer(patch),
        ]
    }

    public func loadEncoder(_ weights: any WeightSource, _ compute: ComputeContext) throws -> (any VideoEncoder)? {
        nil
    }

    var groupSizes: (decoder: Int?, encoder: Int?) { (1, nil) }
    /// Of the first latent frame one video frame counts, the last that is made of it.
    var leadingFrames: Int { temporalCompression - 1 }
    var outputPatch: Int { patch }
    var encoderStages: [any VAEStage] { [] }

    /// Latents are what it was trained on.
    var denormalization: (scale: [Float], shift: [Float]) {
        (Array(repeating: 1, count: latentChannels), Array(repeating: 0, count: latentChannels))
    }

    var decoderStages: [any VAEStage] {
        var stages: [any VAEStage] = [
            SoftLimitStage(name: "decoder.0"),
            RectifiedStage(VAEConvolution("decoder.1", from: latentChannels, to: widths[0], kernel: [3, 3])),
        ]
        for (level, (grow, convolution)) in Self.growing.enumerated() {
            let isLast = level == Self.growing.count - 1
            for block in grow - 4..<grow - 1 {
                stages.append(MemoryBlockStage(name: "decoder.\(block)", width: widths[level]))
            }
            stages.append(
                GrowStage(
                    name: "decoder.\(convolution)", splitter: "decoder.\(grow).conv", from: widths[level],
                    to: widths[level + 1], frames: timeFactors[level], isRectified: isLast))
        }
        return stages + [
            PictureStage(
                VAEConvolution("decoder.22", from: widths[3], to: 3 * patch * patch, kernel: [3, 3]), patch: patch),
        ]
    }
}
