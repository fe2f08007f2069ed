import VditAttention
import VditFiles
import VditMedia
import VditTensor

/// In which order tokens stand in a picture of blocks.
public enum StudyOrder: String, Sendable, CaseIterable, Codable {
    /// As the method has them, so that its blocks are squares.
    case plan
    /// As in the sequence, frame after frame; what a pixel shows is a mean where a method reorders tokens.
    case tokens

    /// What the sides of a picture are, in words.
    var axes: String {
        switch self {
        case .plan: "rows: queries, columns: keys, in the method's order; lines and numbers: latent frames, if it keeps them"
        case .tokens: "rows: queries, columns: keys; lines and numbers: latent frames"
        }
    }
}

/// The kind of a study's output, by what its name says.
public enum StudyFormat: String, Sendable, CaseIterable {
    case png, npy, safetensors

    /// Standard output is `.safetensors`.
    ///
    /// - Throws: `PipelineError.invalid` (64) for another ending.
    public init(path: String, among formats: [StudyFormat] = StudyFormat.allCases) throws(PipelineError) {
        if path == StandardOutput.name, formats.contains(.safetensors) {
            self = .safetensors
            return
        }
        guard let format = formats.first(where: { path.hasSuffix("." + $0.rawValue) }) else {
            throw .invalid(
                "output \(path)", found: "another ending",
                expected: formats.map { "." + $0.rawValue }.joined(separator: ", "), kind: .usage)
        }
        self = format
    }
}

/// The block mask of a plan on disk: a picture to look at, or the mask itself.
public struct MaskFile: Sendable {
    public var plan: AttentionPlan
    public var layout: TokenLayout
    /// Nil is all heads.
    public var head: Int?
    public var order = StudyOrder.plan
    /// The first line of a picture: the method, and where in the run its plan is from.
    public var title = ""

    public init(plan: AttentionPlan, layout: TokenLayout) {
        self.plan = plan
        self.layout = layout
    }

    /// The plan of a method whose mask depends on the layout alone.
    ///
    /// - Throws: what the method throws for the layout; `PipelineError.invalid` (64) where the mask depends on
    ///   queries and keys.
    public static func layoutPlan(_ method: MethodChoice, _ layout: TokenLayout) throws -> AttentionPlan {
        let configured = method.withoutWarmUp().configured(forModel: MethodCatalogue.modelOfBareGrids)
        guard let plan = try configured.planner(for: layout).layoutPlan else {
            throw PipelineError.invalid(
                "mask of \(method.name)", found: "no queries and keys, which decide it",
                expected: "a model and a prompt embedding", kind: .usage)
        }
        return plan
    }

    /// The heads that are written: one where all share a plan.
    public var heads: [AttentionPlan.Head] {
        get throws(PipelineError) {
            guard let head else { return plan.heads }
            guard head >= 0, plan.heads.count == 1 || head < plan.heads.count else {
                throw .invalid(
                    "head", found: "\(head)", expected: "0 to \(plan.heads.count - 1), counted from 0",
                    kind: .usage)
            }
            return [plan.head(head)]
        }
    }

    /// Writes `.png`, `.npy` (bool `[queryBlocks, keyBlocks]`, or `[heads, …]`), or `.safetensors` (`mask` and
    /// `AttentionPlan.Head.tensors`, each followed by `.<head>` where there are several).
    ///
    /// - Throws: for `.npy`, `PipelineError.invalid` (64) where heads have different numbers of blocks.
    public func write(to path: String, existing: ExistingFile, pool: WorkPool) throws {
        let heads = try heads
        switch try StudyFormat(path: path) {
        case .png:
            let side = Heatmap.side(tokens: layout.tokens, least: heads.count == 1 ? 512 : 256)
            let first = head ?? 0
            let maps = heads.enumerated().map { index, head in
                var map = picture(head, side)
                let density = Double(head.pairs) / (Double(layout.tokens) * Double(layout.tokens))
                let name = plan.heads.count == 1 ? "all heads" : "head \(first + index)"
                map.title = "\(name), density \(thousandths(density))"
                return [map]
            }
            let figure = HeatmapFigure(
                title: [title, order.axes], groups: maps, bars: [.kept], side: side)
            try PNG.write(figure.picture(pool: pool), to: path, existing: existing)
        case .npy: try Npy.write(array(heads), to: path, existing: existing)
        case .safetensors:
            var tensors: [String: Tensor] = [:]
            for (index, head) in heads.enumerated() {
                let suffix = heads.count == 1 ? "" : ".\(index)"
                for (name, tensor) in head.tensors { tensors[name + suffix] = tensor }
                tensors["mask" + suffix] = head.mask
            }
            try SafetensorsWriter.write(
                tensors, metadata: ["format": "vdit-mask-1"], to: path, existing: existing)
        }
    }

    private func array(_ heads: [AttentionPlan.Head]) throws(PipelineError) -> Tensor {
        let masks = heads.map(\.mask)
        if masks.count == 1 { return masks[0] }
        let shape = masks[0].shape
        guard masks.allSatisfy({ $0.shape == shape }) else {
            throw .invalid(
                "heads of the mask", found: "different numbers of blocks", expected: "one head, or a .safetensors file",
                kind: .usage)
        }
        let all = Tensor(.bool, [masks.count] + shape)
        for (index, mask) in masks.enumerated() { all[index].assign(mask) }
        return all
    }

    /// What is kept, blue, in the order asked for.
    func picture(_ head: AttentionPlan.Head, _ side: Int) -> Heatmap {
        Self.map(head.mask.asFloats, of: head, layout: layout, order: order, colours: .ink, bins: side)
    }

    /// A matrix over a head's blocks as a picture; in token order, averaged over the tokens of a pixel.
    static func map(
        _ values: Tensor, of head: AttentionPlan.Head, layout: TokenLayout, order: StudyOrder,
        colours: Heatmap.Colours, bins: Int
    ) -> Heatmap {
        let frames = (0...layout.frames).map { layout.textBefore + $0 * layout.tokensPerFrame }
        let text = [0..<layout.video.lowerBound, layout.video.upperBound..<layout.tokens].filter { !$0.isEmpty }
        if order == .plan || (head.queryOrder == nil && head.keyOrder == nil) {
            let keepsFrames = [head.queryOrder, head.keyOrder].allSatisfy { order in
                order.map { keepsFramesTogether($0, layout) } ?? true
            }
            return Heatmap(
                values: values, rowOffsets: head.queryOffsets, columnOffsets: head.keyOffsets, colours: colours,
                borders: keepsFrames ? frames : [], text: text)
        }
        let count = min(layout.tokens, bins)
        let offsets = (0...count).map { Int32($0 * layout.tokens / count) }
        let rows = shares(offsets, head.queryOffsets, head.queryOrder)
        let columns = shares(offsets, head.keyOffsets, head.keyOrder)
        let result = Tensor(.f32, [count, count])
        let keys = values.shape[1]
        for (bin, parts) in rows.enumerated() {
            var blocks = [Float](repeating: 0, count: keys)
            for (row, share) in parts {
                values[row].withFloats { values in for i in 0..<keys { blocks[i] += share * values[i] } }
            }
            result[bin].withMutableFloats { target in
                for column in 0..<count {
                    target[column] = columns[column].reduce(Float(0)) { $0 + $1.value * blocks[$1.key] }
                }
            }
        }
        return Heatmap(
            values: result, rowOffsets: offsets, columnOffsets: offsets, colours: colours, borders: frames, text: text)
    }

    private static func keepsFramesTogether(_ order: [Int32], _ layout: TokenLayout) -> Bool {
        order.indices.allSatisfy { position in
            let token = Int(order[position])
            return layout.video.contains(position)
                ? (token - layout.textBefore) / layout.tokensPerFrame
                    == (position - layout.textBefore) / layout.tokensPerFrame && layout.video.contains(token)
                : token == position
        }
    }

    /// Of each stretch of tokens, the share that lies in each block.
    private static func shares(
        _ stretches: [Int32], _ offsets: [Int32], _ order: [Int32]?
    ) -> [[(key: Int, value: Float)]] {
        var block = [Int](repeating: 0, count: Int(offsets.last ?? 0))
        for index in 0..<offsets.count - 1 {
            for position in Int(offsets[index])..<Int(offsets[index + 1]) {
                block[order.map { Int($0[position]) } ?? position] = index
            }
        }
        return zip(stretches, stretches.dropFirst()).map { start, end in
            var shares: [Int: Float] = [:]
            for token in Int(start)..<Int(end) { shares[block[token], default: 0] += 1 / Float(end - start) }
            return shares.sorted { $0.key < $1.key }.map { (key: $0.key, value: $0.value) }
        }
    }
}

/// For people: three digits behind the point.
func thousandths(_ value: Double) -> String { "\((value * 1000).rounded() / 1000)" }

extension HeatmapFigure.Bar {
    /// The share of a pixel's token pairs that a plan keeps.
    static let kept = Self(.ink, low: "left out", high: "kept")
}

extension Tensor {
    /// 0 and 1 for bools.
    var asFloats: Tensor {
        Tensor(withBytes { bytes in bytes.map { Float($0) } }, shape: shape)
    }
}
