import Glibc
import VditAttention
import VditTensor

/// CogVideoX in front of its blocks and in them: text and video share every weight but the modulation.
struct CogVideoXParts: JointParts {
    static let patchName = "patch_embed.proj"

    private let config: CogVideoXTransformerConfig
    private let textProjection: Linear
    private let time: TimestepEmbedder
    private let ofs: Tensor?
    private let kernels: RowKernels

    struct Prompt: PreparedConditioning {
        /// `[tokens, inner]` f32, the text's rows at every time.
        let text: Tensor
        var byteCount: Int { text.byteCount }
    }

    init(
        _ config: CogVideoXTransformerConfig, _ loader: WeightLoader, _ compute: ComputeContext
    ) throws(TensorError) {
        self.config = config
        kernels = RowKernels(compute.instructionSet)
        textProjection = try loader.linear("patch_embed.text_proj", result: .f32)
        time = try TimestepEmbedder(loader, "time_embedding")
        // Of 2.0 in every release.
        ofs = config.ofsDim == nil ? nil : try TimestepEmbedder(loader, "ofs_embedding")(2, Scratch()).embedding
    }

    static func block(
        _ config: CogVideoXTransformerConfig, _ index: Int, _ name: String, _ loader: WeightLoader
    ) throws(TensorError) -> JointBlock {
        let plain = loader.unquantised
        let attention = "\(name).attn1"
        let norms = (try NormWeights(plain, "\(name).norm1.norm"), try NormWeights(plain, "\(name).norm2.norm"))
        let qkv = try loader.linear("\(attention).to_q", "\(attention).to_k", "\(attention).to_v", result: .f32)
        let (normQ, normK) = (
            try NormWeights(plain, "\(attention).norm_q"), try NormWeights(plain, "\(attention).norm_k"))
        let rest = JointLane.Rest.behind(
            out: try loader.linear("\(attention).to_out.0", result: .f32),
            try FeedForward(loader, "\(name).ff", .plain(.geluTanh)))
        // Of a product's six parts three are the video's, three the text's.
        let lanes = [0, 3].map { first in
            JointLane(
                width: config.inner, norm: .layer, epsilon: Float(config.epsilon), norms: norms,
                attentionPlaces: ModulationPlaces(product: 0, shift: first, scale: first + 1, gate: first + 2),
                feedForwardPlaces: ModulationPlaces(product: 1, shift: first, scale: first + 1, gate: first + 2),
                qkv: qkv, normQ: .layer(normQ), normK: .layer(normK), rest: rest)
        }
        return JointBlock(
            heads: config.heads, headDim: config.headDim,
            modulations: [
                try plain.linear("\(name).norm1.linear", result: .f32),
                try plain.linear("\(name).norm2.linear", result: .f32),
            ], lanes: lanes)
    }

    static func head(
        _ config: CogVideoXTransformerConfig, _ loader: WeightLoader
    ) throws(TensorError) -> JointHead {
        JointHead(
            first: (try NormWeights(loader, "norm_final"), Float(config.epsilon)),
            weights: try NormWeights(loader, "norm_out.norm"), epsilon: Float(config.epsilon),
            modulator: try loader.linear("norm_out.linear", result: .f32), scaleIndex: 1,
            projection: try loader.linear("proj_out", result: .f32), order: .first)
    }

    func prepare(_ conditioning: Conditioning) throws -> Prompt {
        let prompt = conditioning.prompt
        let text = Tensor(.f32, [prompt.shape[0], config.inner])
        try textProjection(prompt.converted(to: textProjection.operandType), into: text, Scratch())
        return Prompt(text: text)
    }

    func vector(
        _ timestep: Float, isText: Bool, _ prompt: Prompt, _ trace: Trace?
    ) throws(TensorError) -> Tensor {
        let (sinusoid, embedding) = try time(timestep, Scratch())
        trace?.record("time_sinusoid", sinusoid)
        if let ofs { kernels.gatedAdd(embedding, ofs, gate: nil) }
        return embedding
    }

    func text(_ timestep: Float, _ prompt: Prompt, _ trace: Trace?) -> Tensor { prompt.text }

    func positions(_ layout: TokenLayout) -> JointPositions {
        config.isRotary ? JointPositions(turning: rotary(layout)) : JointPositions(added: table(layout))
    }

    /// A quarter of the head turns by the frame, three eighths each by row and column. Version 1.0 counts rows and
    /// columns within the native grid, into which another is fitted; 1.5 counts them as they are.
    ///
    /// - Source: `get_3d_rotary_pos_embed` and `get_resize_crop_region_for_grid`, diffusers 0.42.1.
    private func rotary(_ layout: TokenLayout) -> RotaryTable {
        let parts = [config.headDim / 4, config.headDim * 3 / 8, config.headDim * 3 / 8]
        var places = [layout.frames, layout.height, layout.width].map { (0..<$0).map(Double.init) }
        if config.framePatch == 1 {
            let native = config.nativeGrid
            let (height, width) = (Double(layout.height), Double(layout.width))
            let isTall = height * Double(native.width) > width * Double(native.height)
            let fitted = isTall
                ? (height: native.height, width: Self.rounded(Double(native.height) / height * width))
                : (height: Self.rounded(Double(native.width) / width * height), width: native.width)
            for (axis, (native, fitted, count)) in [
                (native.height, fitted.height, layout.height), (native.width, fitted.width, layout.width),
            ].enumerated() {
                let first = Self.rounded(Double(native - fitted) / 2)
                let last = Double((first + fitted) * (count - 1)) / Double(count)
                places[axis + 1] = (0..<count).map {
                    count == 1 ? Double(first) : Double(first) + (last - Double(first)) * Double($0) / Double(count - 1)
                }
            }
        }
        let angles = zip(places, parts).map { places, part in
            places.map { place in (0..<part / 2).map { place * pow(10_000, -2 * Double($0) / Double(part)) } }
        }
        return RotaryTable(angles: angles, order: .byAxis)
    }

    /// As Python rounds.
    private static func rounded(_ value: Double) -> Int { Int(value.rounded(.toNearestOrEven)) }

    /// `[tokens, inner]`: a quarter of the columns tells the frame, then half of the rest the column, half the row; of
    /// each part all sines come before all cosines.
    ///
    /// - Source: `get_3d_sincos_pos_embed`, diffusers 0.42.1.
    private func table(_ layout: TokenLayout) -> Tensor {
        func rows(_ count: Int, _ size: Int, scale: Double) -> [[Float]] {
            (0..<count).map { place in
                let angles = (0..<size / 2).map {
                    Double(place) / scale * pow(10_000, -Double($0) / (Double(size) / 2))
                }
                return angles.map { Float(sin($0)) } + angles.map { Float(cos($0)) }
            }
        }
        let (time, space) = (config.inner / 4, config.inner * 3 / 8)
        let frames = rows(layout.frames, time, scale: config.temporalScale)
        let columns = rows(layout.width, space, scale: config.spatialScale)
        let lines = rows(layout.height, space, scale: config.spatialScale)
        let table = Tensor(.f32, [layout.videoTokens, config.inner])
        table.withMutableFloats { values in
            var next = 0
            for frame in frames {
                for line in lines {
                    for column in columns {
                        for part in [frame, column, line] {
                            for value in part {
                                values[next] = value
                                next += 1
                            }
                        }
                    }
                }
            }
        }
        return table
    }
}
