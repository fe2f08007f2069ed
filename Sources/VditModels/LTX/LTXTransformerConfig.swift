import Glibc
import VditAttention
import VditFiles
import VditTensor

/// The shape of an `LTXVideoTransformer3DModel`, as its `config.json` states it.
public struct LTXTransformerConfig: CrossTransformerConfig, Equatable {
    public var layers: Int
    public var heads: Int
    public var headDim: Int
    public var inChannels: Int
    public var outChannels: Int
    /// Width of the text encoder's rows.
    public var textDim: Int
    public var epsilon: Double
    /// Where latent frames stand in time, which the pipeline decides.
    public var timing = Timing.regular

    /// Seconds of a latent frame, as the rotary embedding counts them.
    public enum Timing: Sendable {
        /// Frame `t` at `8·t` video frames: LTXPipeline.
        case regular
        /// Frame `t` at its first video frame, `max(0, 8·t − 7)`: LTXConditionPipeline.
        case firstFrame
    }

    public init(
        layers: Int, heads: Int, headDim: Int, inChannels: Int = 128, outChannels: Int = 128, textDim: Int = 4096,
        epsilon: Double = 1e-6
    ) {
        self.layers = layers
        self.heads = heads
        self.headDim = headDim
        self.inChannels = inChannels
        self.outChannels = outChannels
        self.textDim = textDim
        self.epsilon = epsilon
    }

    /// LTX-Video 2B: 0.9.0 to 0.9.6, and the smaller model of 0.9.8.
    public static let ltx2B = LTXTransformerConfig(layers: 28, heads: 32, headDim: 64)
    /// LTX-Video 13B: 0.9.7 and 0.9.8.
    public static let ltx13B = LTXTransformerConfig(layers: 48, heads: 32, headDim: 128)

    /// - Throws: `FileError.malformed` naming the key that is out of range or not supported.
    public init(_ file: ConfigFile) throws(FileError) {
        func fail(_ field: String, _ found: String, _ expected: String) -> FileError {
            .malformed(path: file.path, field: field, found: found, expected: expected)
        }
        _ = try file.string("_class_name", oneOf: ["LTXVideoTransformer3DModel"])
        layers = try file.integerIfPresent("num_layers", 1...1024) ?? 28
        heads = try file.integerIfPresent("num_attention_heads", 1...1024) ?? 32
        headDim = try file.integerIfPresent("attention_head_dim", 16...256) ?? 64
        guard headDim % 8 == 0 else { throw fail("attention_head_dim", "\(headDim)", "a multiple of 8") }
        inChannels = try file.integerIfPresent("in_channels", 1...4096) ?? 128
        outChannels = try file.integerIfPresent("out_channels", 1...4096) ?? inChannels
        textDim = try file.integerIfPresent("caption_channels", 1...65536) ?? 4096
        epsilon = try file.numberIfPresent("norm_eps", 1e-12...1) ?? 1e-6
        for (key, only) in [("patch_size", 1), ("patch_size_t", 1), ("cross_attention_dim", heads * headDim)] {
            guard let found = try file.integerIfPresent(key, 1...1_048_576), found != only else { continue }
            throw fail(key, "\(found)", "\(only)")
        }
        for (key, only) in [
            ("attention_bias", true), ("attention_out_bias", true), ("norm_elementwise_affine", false),
        ] {
            guard let found = try file.boolIfPresent(key), found != only else { continue }
            throw fail(key, "\(found)", "\(only)")
        }
        for (key, only) in [("activation_fn", "gelu-approximate"), ("qk_norm", "rms_norm_across_heads")]
        where try file.stringIfPresent(key) != nil {
            _ = try file.string(key, oneOf: [only])
        }
    }

    public var ffnDim: Int { 4 * inner }
    public var patch: [Int] { [1, 1, 1] }
    public var norm: RowNorm { .rms }
    public var queryKeyEpsilon: Double { 1e-5 }
    public var crossAttentionNorm: Bool { false }

    public var names: CrossTransformerNames {
        CrossTransformerNames(
            patch: "proj_in", time: "time_embed.emb.timestep_embedder", timeProjection: "time_embed.linear",
            text: "caption_projection", blocks: "transformer_blocks", feedForward: "ff")
    }

    public var tensors: [(name: String, shape: [Int])] {
        let d = inner
        var list = TensorList()
        list.linear("proj_in", inChannels, d)
        list.linear("time_embed.emb.timestep_embedder.linear_1", 256, d)
        list.linear("time_embed.emb.timestep_embedder.linear_2", d, d)
        list.linear("time_embed.linear", d, 6 * d)
        list.linear("caption_projection.linear_1", textDim, d)
        list.linear("caption_projection.linear_2", d, d)
        for i in 0..<layers {
            let block = "transformer_blocks.\(i)"
            list.attention("\(block).attn1", d)
            list.attention("\(block).attn2", d)
            list.linear("\(block).ff.net.0.proj", d, ffnDim)
            list.linear("\(block).ff.net.2", ffnDim, d)
            list.add("\(block).scale_shift_table", [6, d])
        }
        list.add("scale_shift_table", [2, d])
        list.linear("proj_out", d, outChannels)
        return list.all
    }

    /// The original's names beside those of diffusers.
    public var adapterNames: AdapterNames {
        AdapterNames(
            tensors: tensors, aliases: LTXNames.transformer.rows(numbered: layers), sizes: [2048: "2B", 4096: "13B"])
    }

    public var conditioning: ConditioningNeeds {
        ConditioningNeeds(promptWidth: textDim, takesMask: true, takesTimePerToken: true, takesFrameRate: true)
    }

    public var summary: String { "\(layers) layers, \(heads) heads × \(headDim), text \(textDim)" }

    public var configuration: [String: ConfigurationValue] {
        [
            "_class_name": .text("LTXVideoTransformer3DModel"), "num_layers": .integer(layers),
            "num_attention_heads": .integer(heads), "attention_head_dim": .integer(headDim),
            "cross_attention_dim": .integer(inner), "caption_channels": .integer(textDim),
            "in_channels": .integer(inChannels), "out_channels": .integer(outChannels),
            "patch_size": .integer(1), "patch_size_t": .integer(1), "norm_eps": .number(epsilon),
            "activation_fn": .text("gelu-approximate"), "qk_norm": .text("rms_norm_across_heads"),
            "norm_elementwise_affine": .flag(false), "attention_bias": .flag(true),
            "attention_out_bias": .flag(true),
        ]
    }

    /// Every latent pixel is a token; the prompt is attended to by cross-attention alone.
    public func tokenLayout(_ latents: LatentShape, textTokens: Int) throws(ModelError) -> TokenLayout {
        for (name, extent) in [("frames", latents.frames), ("height", latents.height), ("width", latents.width)]
        where extent < 1 {
            throw .invalid("latent \(name)", found: "\(extent)", expected: "at least 1", kind: .badData)
        }
        return TokenLayout(frames: latents.frames, height: latents.height, width: latents.width)
    }

    /// Beside what every such model holds, the angles of every pair of every token.
    public func activationBytes(_ layout: TokenLayout, operand: DType) -> Int {
        layout.tokens * inner * (4 + 7 * operand.byteCount + 4)
    }

    /// Angles `π/2 · 10000^(k / (n − 1)) · (2·c − 1)` for `n` frequencies, `c` being seconds over 20 and pixels over
    /// 2048. A frequency turns pairs of the whole row, so heads differ in theirs.
    ///
    /// All in fp32 and in the reference's order: angles reach 15,000, where one rounding is 0.001.
    /// - Source: `LTXVideoRotaryPosEmbed`, diffusers 0.42.1.
    public func rotary(_ layout: TokenLayout, frameRate: Double?, frameAhead: Int?) -> RotaryTable {
        let count = inner / 6
        let step: Float = count > 1 ? 1 / Float(count - 1) : 0
        let frequencies = (0..<count).map { index in
            // From either end, as torch's linspace has it; the difference is rounded once.
            let place = index < count / 2 ? Float(index) * step : Float(1 - Double(count - 1 - index) * Double(step))
            return Float(pow(10_000, Double(place))) * Float(Double.pi / 2)
        }
        func angles(_ places: [Float]) -> [[Double]] {
            places.map { place in frequencies.map { Double($0 * (place * 2 - 1)) } }
        }
        let rate = frameRate ?? 25
        func time(_ frame: Int) -> Float {
            switch timing {
            case .regular: Float(frame) * Float(8 / rate) / 20
            case .firstFrame: Float(max(0, 8 * frame - 7)) * Float(1 / rate) / 20
            }
        }
        let ahead = frameAhead.map { [Float($0) * Float(1 / rate) / 20] } ?? []
        let times = ahead + (0..<layout.frames - ahead.count).map(time)
        func pixels(_ count: Int) -> [Float] { (0..<count).map { Float($0 * 32) / 2048 } }
        return RotaryTable(
            angles: [angles(times), angles(pixels(layout.height)), angles(pixels(layout.width))],
            order: .byFrequency(still: inner % 6 / 2))
    }
}
