import Foundation
import VDiT

/// The toy's transformer before its weights.
struct ToyTransformerConfig: TransformerSpecification, Equatable {
    var layers = 3
    var heads = 2
    var headDim = 16
    var inputChannels = 6
    var outputChannels: Int { inputChannels }
    let conditioning = ConditioningNeeds(promptWidth: 12, takesMask: true, pooledWidth: 10, takesFrameRate: true)
    let patchExtents = (frames: 1, height: 2, width: 2)

    static let timeWidth = 16
    var width: Int { heads * headDim }
    /// Channels of a token's patch, and its three positions.
    var patchWidth: Int { inputChannels * 4 }

    init() {}

    init(_ file: ConfigFile) throws(FileError) {
        _ = try file.string("_class_name", oneOf: ["ToyTransformer"])
        layers = try file.integer("depth", 1...100)
        heads = try file.integer("heads", 1...100)
        headDim = try file.integer("head_dim", 8...256)
        inputChannels = try file.integer("channels", 1...100)
    }

    static func == (one: Self, other: Self) -> Bool {
        one.configuration == other.configuration
    }

    var configuration: [String: ConfigurationValue] {
        [
            "_class_name": .text("ToyTransformer"), "depth": .integer(layers), "heads": .integer(heads),
            "head_dim": .integer(headDim), "channels": .integer(inputChannels),
        ]
    }

    var summary: String { "\(layers) toy layers of \(heads) heads × \(headDim)" }

    var tensors: [(name: String, shape: [Int])] {
        var all: [(name: String, shape: [Int])] = [
            ("embed.weight", [width, patchWidth + 3]), ("time.weight", [width, Self.timeWidth + 1]),
            ("pooled.weight", [width, conditioning.pooledWidth ?? 0]),
            ("text.weight", [width, conditioning.promptWidth]), ("head.weight", [patchWidth, width]),
        ]
        for layer in 0..<layers {
            all += [
                ("layers.\(layer).qkv.weight", [3 * width, width]), ("layers.\(layer).out.weight", [width, width]),
                ("layers.\(layer).up.weight", [2 * width, width]), ("layers.\(layer).down.weight", [width, 2 * width]),
            ]
        }
        return all
    }

    func tokenLayout(_ latents: LatentShape, textTokens: Int) throws(ModelError) -> TokenLayout {
        for (name, extent) in [("height", latents.height), ("width", latents.width)]
        where extent % 2 != 0 || extent < 2 {
            throw .invalid("latent \(name)", found: "\(extent)", expected: "a positive multiple of 2", kind: .badData)
        }
        return TokenLayout(
            frames: latents.frames, height: latents.height / 2, width: latents.width / 2, textAfter: textTokens)
    }

    func work(_ layout: TokenLayout, textTokens: Int) -> TransformerWork {
        let (tokens, width, layers) = (Double(layout.tokens), Double(width), Double(layers))
        return TransformerWork(
            selfAttention: layers * 4 * tokens * tokens * width, other: layers * tokens * 16 * width * width,
            prompt: Double(textTokens * conditioning.promptWidth) * 2 * width)
    }

    func activationBytes(_ layout: TokenLayout, operand: DType) -> Int { layout.tokens * width * 4 * 8 }

    func promptBytes(textTokens: Int, operand: DType) -> Int { textTokens * width * 4 }

    func withLayers(_ count: Int) -> Self {
        var other = self
        other.layers = count
        return other
    }

    func load(_ weights: any WeightSource, _ compute: ComputeContext) throws -> any VideoModel {
        try ToyTransformer(self, weights, compute)
    }
}

/// `y = W x` of rows, in plain loops.
struct ToyMatrix: Sendable {
    let (outputs, inputs): (Int, Int)
    private let values: [Float]

    init(_ source: any WeightSource, _ name: String) throws(TensorError) {
        let tensor = try source.tensor(name)
        (outputs, inputs) = (tensor.shape[0], tensor.shape[1])
        values = tensor.converted(to: .f32).floats()
        source.release(name)
    }

    var byteCount: Int { values.count * 4 }

    func callAsFunction(_ rows: [Float]) -> [Float] {
        var result: [Float] = []
        for row in 0..<rows.count / inputs {
            for output in 0..<outputs {
                var sum: Float = 0
                for input in 0..<inputs { sum += values[output * inputs + input] * rows[row * inputs + input] }
                result.append(sum)
            }
        }
        return result
    }
}

/// The toy's projected prompt.
private struct ToyPrompt: PreparedConditioning {
    /// `[valid tokens, width]`
    let text: [Float]
    /// `[width]` of the pooled vector.
    let pooled: [Float]
    let frameRate: Float
    var byteCount: Int { (text.count + pooled.count) * 4 }
}

private final class ToyTransformer: VideoModel {
    private struct Layer {
        let qkv, out, up, down: ToyMatrix
    }

    private let config: ToyTransformerConfig
    private let compute: ComputeContext
    private let embed, time, pooled, text, head: ToyMatrix
    private let layers: [Layer]

    init(_ config: ToyTransformerConfig, _ source: any WeightSource, _ compute: ComputeContext) throws {
        self.config = config
        self.compute = compute
        func matrix(_ name: String) throws(TensorError) -> ToyMatrix { try ToyMatrix(source, name + ".weight") }
        (embed, time, pooled) = (try matrix("embed"), try matrix("time"), try matrix("pooled"))
        (text, head) = (try matrix("text"), try matrix("head"))
        layers = try (0..<config.layers).map {
            Layer(
                qkv: try matrix("layers.\($0).qkv"), out: try matrix("layers.\($0).out"),
                up: try matrix("layers.\($0).up"), down: try matrix("layers.\($0).down"))
        }
    }

    var layerByteCount: Int {
        layers.first.map { $0.qkv.byteCount + $0.out.byteCount + $0.up.byteCount + $0.down.byteCount } ?? 0
    }

    func prepare(_ conditioning: Conditioning) throws -> any PreparedConditioning {
        guard let vector = conditioning.pooled, let mask = conditioning.mask, let rate = conditioning.frameRate else {
            throw ModelError.invalid(
                "conditioning", found: "no mask, pooled vector or frame rate", expected: "all of them", kind: .badData)
        }
        let rows = conditioning.prompt.converted(to: .f32).floats()
        let width = config.conditioning.promptWidth
        let valid = mask.indices.filter { mask[$0] }.flatMap { rows[$0 * width..<($0 + 1) * width] }
        return ToyPrompt(text: text(valid), pooled: pooled(vector.floats()), frameRate: Float(rate))
    }

    func predict(
        _ latents: Tensor, conditioning: any PreparedConditioning, _ pass: ForwardPass
    ) throws -> Tensor {
        guard let prompt = conditioning as? ToyPrompt else { preconditionFailure("prepared by another model") }
        let shape = LatentShape(latents.shape)
        let layout = try config.tokenLayout(shape, textTokens: prompt.text.count / config.width)
        var stream = embed(patches(latents.floats(), shape)) + prompt.text
        let moment = time(moment(pass.timesteps[0], prompt.frameRate))
        for index in stream.indices {
            stream[index] += moment[index % config.width] + prompt.pooled[index % config.width]
        }
        for (index, layer) in layers.enumerated() {
            try pass.onLayer?(index)
            let values = try attention(normalised(stream), layer, index, layout, pass)
            add(layer.out(values), to: &stream)
            add(layer.down(layer.up(normalised(stream)).map { $0 / (1 + exp(-$0)) }), to: &stream)
            if pass.checksLayers, !stream.allSatisfy(\.isFinite) { throw ModelError.nonFinite(layer: index) }
        }
        let video = normalised(Array(stream.prefix(layout.videoTokens * config.width)))
        return Tensor(unpatched(head(video), shape), shape: latents.shape)
    }

    private func attention(
        _ rows: [Float], _ layer: Layer, _ index: Int, _ layout: TokenLayout, _ pass: ForwardPass
    ) throws -> [Float] {
        let (heads, size, width) = (config.heads, config.headDim, config.width)
        let projected = layer.qkv(rows)
        let parts = (0..<3).map { part in
            let values = (0..<heads).flatMap { head in
                (0..<layout.tokens).flatMap { token in
                    let start = token * 3 * width + part * width + head * size
                    return projected[start..<start + size]
                }
            }
            return Tensor(values, shape: [heads, layout.tokens, size]).converted(to: compute.precision.dtype)
        }
        return try pass.attend(
            AttentionCall(
                q: parts[0], k: parts[1], v: parts[2], layout: layout,
                site: AttentionSite(layer: index, branch: pass.branch), step: pass.step, steps: pass.steps,
                pool: compute.pool, instructionSet: compute.instructionSet)
        ).values.converted(to: .f32).floats()
    }

    /// `[tokens, patchWidth + 3]`
    private func patches(_ latents: [Float], _ shape: LatentShape) -> [Float] {
        var rows: [Float] = []
        tokens(shape) { frame, row, column in
            for channel in 0..<shape.channels {
                for part in 0..<4 {
                    rows.append(latents[place(shape, channel, frame, row + part / 2, column + part % 2)])
                }
            }
            rows += [sin(Float(frame)), sin(Float(row) * 0.5), cos(Float(column) * 0.5)]
        }
        return rows
    }

    private func unpatched(_ rows: [Float], _ shape: LatentShape) -> [Float] {
        var latents = [Float](repeating: 0, count: shape.count)
        var next = 0
        tokens(shape) { frame, row, column in
            for channel in 0..<shape.channels {
                for part in 0..<4 {
                    latents[place(shape, channel, frame, row + part / 2, column + part % 2)] = rows[next]
                    next += 1
                }
            }
        }
        return latents
    }

    private func tokens(_ shape: LatentShape, _ body: (Int, Int, Int) -> Void) {
        for frame in 0..<shape.frames {
            for row in stride(from: 0, to: shape.height, by: 2) {
                for column in stride(from: 0, to: shape.width, by: 2) { body(frame, row, column) }
            }
        }
    }

    private func place(_ shape: LatentShape, _ channel: Int, _ frame: Int, _ row: Int, _ column: Int) -> Int {
        ((channel * shape.frames + frame) * shape.height + row) * shape.width + column
    }

    private func moment(_ timestep: Float, _ rate: Float) -> [Float] {
        let half = ToyTransformerConfig.timeWidth / 2
        let angles = (0..<half).map { timestep * 0.001 * pow(2, Float($0)) }
        return angles.map { sin($0) } + angles.map { cos($0) } + [rate / 24]
    }

    private func normalised(_ rows: [Float]) -> [Float] {
        var result = rows
        for start in stride(from: 0, to: rows.count, by: config.width) {
            let row = rows[start..<start + config.width]
            let scale = 1 / (row.reduce(0) { $0 + $1 * $1 } / Float(config.width) + 1e-6).squareRoot()
            for index in row.indices { result[index] = row[index] * scale }
        }
        return result
    }

    private func add(_ rows: [Float], to stream: inout [Float]) {
        for index in stream.indices { stream[index] += rows[index] }
    }
}
