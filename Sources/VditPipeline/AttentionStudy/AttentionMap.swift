import Glibc
import VditAttention
import VditFiles
import VditMedia
import VditTensor

/// The attention a model really pays, block by block, beside what a method keeps of it.
public struct AttentionMap: Sendable {
    /// How mass becomes colour. 0 is dark, the 99.5th percentile and everything above it bright.
    public enum Scale: String, Sendable, CaseIterable, Codable {
        case linear
        /// The four decades below the brightest.
        case log

        var bar: HeatmapFigure.Bar {
            .init(.viridis, low: self == .linear ? "0" : "1e-4 of it", high: "brightest")
        }
    }

    public struct HeadRow: Sendable, Codable {
        public let head: Int
        /// Kept token pairs over all.
        public let density: Double
        /// Softmax mass the plan keeps, averaged over queries.
        public let recall: Double
        /// Of the method's output, corrections included, against dense attention on the same operands.
        public let relativeError: Double
    }

    /// Per head, all of them.
    public let heads: [HeadRow]
    /// Relative output error over all heads together.
    public let totalError: Double
    /// The first line of a picture: the method, and where in the run this is.
    public var title = ""
    private let call: AttentionCall
    private let plan: AttentionPlan

    /// Computes dense attention on what was observed.
    public init(of observation: AttentionContext.Observation) {
        call = observation.call
        // Of a refresh the last plan is the one whose window is looked at.
        plan = observation.plans.last ?? .dense(tokens: call.tokens)
        let fidelity = AttentionFidelity(of: observation, plan: plan)
        let pairs = Double(call.tokens) * Double(call.tokens)
        heads = (0..<observation.call.heads).map { [plan] in
            HeadRow(
                head: $0, density: Double(plan.head($0).pairs) / pairs, recall: fidelity.recall[$0],
                relativeError: fidelity.relativeError[$0])
        }
        totalError = fidelity.totalError
    }

    /// Writes `.png`: a row per head, true attention, the blocks kept, and the attention that is kept; or
    /// `.safetensors`: for every head `mass.<head>` f32 `[queryBlocks, keyBlocks]` (the mean over a block's
    /// queries of their softmax mass on each key block), `mask.<head>` bool and
    /// `AttentionPlan.Head.tensors`, and of all heads `density`, `recall` and `relative_error` f32 `[heads]`.
    ///
    /// - Parameters:
    ///   - chosen: nil writes all heads.
    ///   - order: of the picture. In token order mass is that of blocks of 64 tokens.
    /// - Throws: `PipelineError.invalid` (64) for a head there is not, or another kind of file.
    public func write(
        to path: String, head chosen: Int? = nil, order: StudyOrder = .plan, scale: Scale = .linear,
        existing: ExistingFile
    ) throws {
        let format = try StudyFormat(path: path, among: [.png, .safetensors])
        try check(head: chosen)
        let chosen = chosen.map { [$0] } ?? Array(0..<call.heads)
        if format == .png {
            let side = Heatmap.side(tokens: call.tokens, least: chosen.count == 1 ? 512 : 256)
            let figure = HeatmapFigure(
                title: [title, order.axes], groups: try chosen.map { try pictures(of: $0, order, scale, side) },
                bars: [scale.bar, .kept], side: side)
            try PNG.write(figure.picture(pool: call.pool), to: path, existing: existing)
            return
        }
        var tensors = [
            "density": Tensor(heads.map { Float($0.density) }), "recall": Tensor(heads.map { Float($0.recall) }),
            "relative_error": Tensor(heads.map { Float($0.relativeError) }),
        ]
        for head in chosen {
            let blocks = plan.head(head)
            tensors["mass.\(head)"] = try attentionMass(call, head: head, blocks: blocks)
            tensors["mask.\(head)"] = blocks.mask
            for (name, tensor) in blocks.tensors { tensors["\(name).\(head)"] = tensor }
        }
        try SafetensorsWriter.write(
            tensors,
            metadata: [
                "format": "vdit-attention-map-1", "step": "\(call.step)", "layer": "\(call.site.layer)",
                "branch": call.site.branch.rawValue,
            ], to: path, existing: existing)
    }

    /// Writes the operands as `AttendJob` reads them: `q`, `k`, `v` `[heads, tokens, headDim]`.
    public func writeOperands(to path: String, existing: ExistingFile) throws {
        let layout = call.layout
        try SafetensorsWriter.write(
            ["q": call.q, "k": call.k, "v": call.v],
            metadata: [
                "frames": "\(layout.frames)", "height": "\(layout.height)", "width": "\(layout.width)",
                "step": "\(call.step)", "layer": "\(call.site.layer)", "branch": call.site.branch.rawValue,
            ], to: path, existing: existing)
    }

    private func check(head: Int?) throws(PipelineError) {
        if let head, !(0..<call.heads).contains(head) {
            throw .invalid(
                "head", found: "\(head)", expected: "0 to \(call.heads - 1), counted from 0", kind: .usage)
        }
    }

    private func pictures(of head: Int, _ order: StudyOrder, _ scale: Scale, _ side: Int) throws -> [Heatmap] {
        let kept = plan.head(head)
        let grid = order == .plan ? kept : AttentionPlan.dense(tokens: call.tokens, block: 64).head(0)
        let mass = try attentionMass(call, head: head, blocks: grid)
        let colours = coloured(mass, grid, scale)
        func map(_ values: Tensor, _ blocks: AttentionPlan.Head, _ palette: Heatmap.Colours) -> Heatmap {
            MaskFile.map(values, of: blocks, layout: call.layout, order: order, colours: palette, bins: side)
        }
        let mask = map(kept.mask.asFloats, kept, .ink)
        var maps = [map(colours, grid, .viridis), mask]
        if order == .plan { maps.append(map(product(colours, kept.mask.asFloats), kept, .viridis)) }
        let row = heads[head]
        for (index, what) in zip(maps.indices, [
            "head \(head): attention", "kept blocks, density \(thousandths(row.density))",
            "attention kept, recall \(thousandths(row.recall))",
        ]) { maps[index].title = what }
        return maps
    }

    /// Mass per key, as a fraction of the brightest.
    private func coloured(_ mass: Tensor, _ grid: AttentionPlan.Head, _ scale: Scale) -> Tensor {
        let sizes = zip(grid.keyOffsets, grid.keyOffsets.dropFirst()).map { Float($1 - $0) }
        let perKey = mass.floats().enumerated().map { $1 / sizes[$0 % sizes.count] }
        let sorted = perKey.sorted()
        let brightest = max(sorted[(sorted.count - 1) * 995 / 1000], .leastNormalMagnitude)
        return Tensor(
            perKey.map { value in
                let part = min(1, value / brightest)
                return scale == .linear ? part : max(0, 1 + log10(max(part, 1e-6)) / 4)
            }, shape: mass.shape)
    }

    private func product(_ a: Tensor, _ b: Tensor) -> Tensor {
        Tensor(zip(a.floats(), b.floats()).map { $0 * $1 }, shape: a.shape)
    }
}
