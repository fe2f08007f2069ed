import Glibc
import VditTensor

/// Attends to the key blocks whose means score highest, and adds linear attention, put through a layer that was trained
/// with it.
///
/// Per head, with `φ` a feature map of rows and sums over the keys `j` of the linear part:
/// `values = softmax(scale · q · kᵀ) · v over the kept blocks + W · (φ(q) · Σ φ(k_j)ᵀ v_j) / (φ(q) · Σ φ(k_j)) + b`.
///
/// - Source: Zhang et al., SLA: Beyond Sparsity in Diffusion Transformers via Fine-Tunable Sparse-Linear Attention,
///   arXiv 2509.24006; thu-ml/SLA, its branches `main` and `SLA-1`; thu-ml/TurboDiffusion.
/// - Differs: feature maps and their sums are fp32. The mean of all keys is not taken off: it changes no rank. At least
///   one block is kept. Text is kept, its queries are dense and have no linear part. Where no feature of a query meets
///   one of a key, `unkept` divides by nothing and gives 0.
public struct SparseLinearAttention: SparseMethod {
    public static let name = "sla"

    /// Keys of the linear part.
    private enum Keys: String, Sendable, CaseIterable {
        /// All, as what is released has it.
        case all
        /// Those of the blocks that a query block does not keep, as the paper has it.
        case unkept
    }

    private enum Features: String, Sendable, CaseIterable { case softmax, elu, relu }

    private let order: BlockOrder
    private let keySize: Int
    private let kept: Double
    /// Instead of `kept`.
    private let density: Double?
    private let keys: Keys
    private let features: Features

    public var trained: TrainedAttention? { .projections }

    /// Keys that are summed at a time, where all are.
    private static let summedAtOnce = 1024

    /// The sums of one head.
    public func workingBytes(layout: TokenLayout, headDim: Int) -> Int {
        let sums = keys == .all
            ? layout.tokens / Self.summedAtOnce + 1
            : order.sizes(layout).reduce(2) { $0 + ($1 + keySize - 1) / keySize }
        return sums * (headDim + 1) * headDim * 4
    }

    public func planner(for layout: TokenLayout) throws(AttentionError) -> any AttentionPlanner {
        let blocks = try VideoBlocks(order, layout, method: Self.name, keySize: keySize)
        let rule = SelectionRule.top(kept)
        let count = blocks.keys.video.count
        let share = Double(rule.count(repeatElement(Float(0), count: count))) / Double(count)
        return Planner(
            base: try SelectingPlanner(
                MeanScorer(blocks: blocks), blocks, density.map { .density($0) } ?? .rules([rule]), .none,
                method: Self.name),
            linear: LinearPart(blocks, keys, features),
            // As if all blocks were of one size.
            density: density ?? layout.density(videoPairs: layout.videoPairs(density: 1) * share))
    }

    private struct Planner: AttentionPlanner {
        let base: SelectingPlanner<MeanScorer>
        let linear: LinearPart
        let density: Double

        var finishes: Bool { true }

        /// Without the linear part, which works on no pairs.
        func predictedWork(step: Int, first: Int) -> Double? { density }

        func plan(_ call: AttentionCall, _ state: inout MethodState) throws(AttentionError) -> AttentionPlan {
            try call.require(.projections, for: SparseLinearAttention.name)
            return try base.plan(call, &state)
        }

        func finish(
            _ output: inout AttentionOutput, of call: AttentionCall, by plan: AttentionPlan, _ state: inout MethodState,
            attend: (AttentionPlan) -> AttentionOutput
        ) throws(AttentionError) {
            guard let projection = call.projection else { return }
            for head in 0..<call.heads {
                try linear.add(to: output.values, of: call, head, plan.head(head), projection)
            }
        }
    }

    /// The linear part: heads one after another, so that the sums of one are all there is at a time.
    private struct LinearPart: Sendable {
        private let blocks: VideoBlocks
        private let keys: Keys
        private let features: Features
        /// Positions of the keys that are summed together.
        private let parts: [Range<Int32>]

        init(_ blocks: VideoBlocks, _ keys: Keys, _ features: Features) {
            (self.blocks, self.keys, self.features) = (blocks, keys, features)
            let offsets = keys == .all
                ? AttentionPlan.offsets(tokens: blocks.layout.tokens, block: SparseLinearAttention.summedAtOnce)
                : blocks.keys.offsets
            parts = zip(offsets, offsets.dropFirst()).map { $0..<$1 }
        }

        /// - Parameter values: `[tokens, heads, headDim]` f32.
        func add(
            to values: Tensor, of call: AttentionCall, _ head: Int, _ plan: AttentionPlan.Head, _ projection: Linear
        ) throws(AttentionError) {
            let sums = try call.pool.map(parts.count) { (part, scratch) throws(AttentionError) in
                try sum(call, head, parts[part], scratch)
            }
            let total = Self.added(sums.indices, of: sums)
            let shared = keys == .all ? try Self.product(total, call) : nil
            try call.pool.run(blocks.queries.video.count) { (row, scratch) throws(AttentionError) in
                let block = blocks.queries.video.lowerBound + row
                let positions = blocks.queries.offsets[block]..<blocks.queries.offsets[block + 1]
                let mean = scratch.tensor(.f32, [positions.count, call.headDim])
                mean.fill(byte: 0)
                let weights = keys == .all ? shared : try unkept(plan.kept(block), sums, total, call)
                if let weights {
                    try divide(weights, featured(call.q[head], positions, call, scratch), into: mean, scratch)
                }
                let projected = scratch.tensor(.f32, mean.shape)
                try tensorWork { () throws(TensorError) in try projection(mean, into: projected, scratch) }
                projected.withFloats { projected in
                    var place = projected.startIndex
                    for token in blocks.tokens(positions) {
                        let row = values.pointer(as: Float.self) + (Int(token) * call.heads + head) * call.headDim
                        for column in 0..<call.headDim { row[column] += projected[place + column] }
                        place += call.headDim
                    }
                }
            }
        }

        /// `[headDim + 1, headDim]` f32: `Σ v_jᵀ φ(k_j)` of some keys, and `Σ φ(k_j)`.
        private func sum(
            _ call: AttentionCall, _ head: Int, _ positions: Range<Int32>, _ scratch: Scratch
        ) throws(AttentionError) -> Tensor {
            let values = blocks.rows(of: call.v[head], positions, scratch)
            // With a value of one behind each.
            let columns = scratch.tensor(.f32, [call.headDim + 1, positions.count])
            columns.slice(0..<call.headDim).assign(transposing: values)
            columns[call.headDim].withMutableFloats { ones in ones.update(repeating: 1) }
            let keys = scratch.tensor(.f32, [call.headDim, positions.count])
            keys.assign(transposing: featured(call.k[head], positions, call, scratch))
            return try pairwiseScores(columns, keys, on: call.instructionSet, scratch)
        }

        /// The sums of the blocks that are not kept; nil where all are. Of the two ways to them the shorter, which is
        /// also the one that rounds less.
        private func unkept(
            _ kept: ArraySlice<Int32>, _ sums: [Tensor], _ total: Tensor, _ call: AttentionCall
        ) throws(AttentionError) -> Linear? {
            if kept.count == sums.count { return nil }
            if 2 * kept.count < sums.count {
                let rest = total.copy()
                for block in kept { rest.add(sums[Int(block)], times: -1) }
                return try Self.product(rest, call)
            }
            let all = Set(kept)
            return try Self.product(Self.added(sums.indices.filter { !all.contains(Int32($0)) }, of: sums), call)
        }

        private static func added(_ some: some Sequence<Int>, of sums: [Tensor]) -> Tensor {
            let total = Tensor(.f32, sums[0].shape)
            for index in some { total.add(sums[index], times: 1) }
            return total
        }

        private static func product(_ sums: Tensor, _ call: AttentionCall) throws(AttentionError) -> Linear {
            try tensorWork { () throws(TensorError) in
                try Linear(weights: [sums], biases: [], operand: .f32, on: call.instructionSet)
            }
        }

        /// - Parameters:
        ///   - queries: `[rows, headDim]` f32, their features.
        ///   - mean: shaped as they are: values, weighted by products of features.
        private func divide(
            _ sums: Linear, _ queries: Tensor, into mean: Tensor, _ scratch: Scratch
        ) throws(AttentionError) {
            let products = scratch.tensor(.f32, [queries.shape[0], sums.outputs])
            try tensorWork { () throws(TensorError) in try sums(queries, into: products, scratch) }
            let dim = mean.columns
            products.withFloats { products in
                mean.withMutableFloats { mean in
                    for row in 0..<queries.shape[0] {
                        let weight = products[row * (dim + 1) + dim]
                        let factor = keys == .all ? 1 / (weight + 1e-5) : weight > 0 ? 1 / weight : 0
                        for column in 0..<dim { mean[row * dim + column] = products[row * (dim + 1) + column] * factor }
                    }
                }
            }
        }

        /// `[positions, headDim]` f32, not negative, in scratch memory.
        private func featured(
            _ x: Tensor, _ positions: Range<Int32>, _ call: AttentionCall, _ scratch: Scratch
        ) -> Tensor {
            let rows = blocks.rows(of: x, positions, scratch)
            switch features {
            case .softmax: PlanningKernels(call.instructionSet).softmax(rows, scale: 1)
            case .elu:
                rows.withMutableFloats { rows in
                    for index in rows.indices { rows[index] = rows[index] > 0 ? rows[index] + 1 : expf(rows[index]) }
                }
            case .relu:
                rows.withMutableFloats { rows in for index in rows.indices { rows[index] = max(0, rows[index]) } }
            }
            return rows
        }
    }

    private static let keptOption = MethodOption(
        "kept", .number(0...1), default: 0.05, "share of the key blocks that a query block keeps, one at least")
    private static let keysOption = MethodOption<Keys>(
        "linear", .choice, default: .all, "keys of the linear part: all, or those of blocks that are not kept")
    private static let featuresOption = MethodOption<Features>(
        "features", .choice, default: .softmax, "feature map of the linear part's queries and keys")

    static let description = MethodDescription(
        name: name,
        summary: "the sparse attention TurboDiffusion was trained with: the best blocks, and linear attention",
        paper: .init(
            title: "SLA: Beyond Sparsity in Diffusion Transformers via Fine-Tunable Sparse-Linear Attention",
            arXiv: "2509.24006"),
        options: [keptOption, keysOption, featuresOption, BlockOrder.keyBlock] + BlockOrder.options(.raster)
            + DenseSchedule.options(steps: .count(0), layers: 0),
        presets: [
            .init(
                name: "turbodiffusion", models: MethodDescription.Preset.smallWan + MethodDescription.Preset.allWan14B,
                source: "TurboDiffusion's inference code", settings: [keptOption(0.1), BlockOrder.block(128)]),
            .init(
                name: "sla-1", models: [], source: "branch SLA-1 of the reference code, as in the paper",
                settings: [keptOption(0.05), keysOption(.unkept), BlockOrder.block(64)]),
        ],
        shareOptions: [keptOption]
    ) { values, density in
        SparseLinearAttention(
            order: BlockOrder(values), keySize: values[BlockOrder.keyBlock], kept: values[keptOption],
            density: density, keys: values[keysOption], features: values[featuresOption])
    }
}

extension Tensor {
    /// Adds `times` another's elements, both f32.
    fileprivate func add(_ other: Tensor, times factor: Float) {
        withMutableFloats { own in
            other.withFloats { other in for index in own.indices { own[index] += factor * other[index] } }
        }
    }
}
