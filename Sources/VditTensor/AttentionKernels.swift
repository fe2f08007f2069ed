import CVditKernels

/// What the scores of self-attention are products of.
public enum AttentionPrecision: String, Sendable, CaseIterable, Codable {
    /// bf16, as all other products.
    case bf16
    /// 8-bit whole numbers with a scale for each query and key, keys less their mean over all tokens; weights and values
    /// stay bf16.
    case int8
}

/// The attention kernel of an instruction set and an operand type.
///
/// `@unchecked Sendable`: the table is constant static memory of the C library.
public struct AttentionKernel: @unchecked Sendable, CustomStringConvertible {
    let table: UnsafePointer<vdit_attention>
    /// For what goes before it.
    fileprivate let planning: PlanningKernels

    /// Most query rows of a block; longer ones are cut.
    public static let rows = Int(VDIT_ATTEND_ROWS)
    /// Head dimensions the kernels are written for.
    public static func serves(headDim: Int) -> Bool { headDim % 8 == 0 && (8...256).contains(headDim) }

    /// - Parameter operands: f32 or bf16, the type in which queries, keys, weights and values are multiplied.
    ///   Where the set has no bf16 products they are widened. Sums are fp32 in both.
    /// - Parameter precision: of the scores; that of the operands if nil.
    public init(_ set: InstructionSet, operands: DType, precision: AttentionPrecision? = nil) {
        precondition(operands == .f32 || operands == .bf16)
        table = precision == .int8
            ? vdit_attention_int8_kernel(set.isa)!
            : vdit_attention_kernel(set.isa, operands == .bf16 ? VDIT_BF16 : VDIT_F32)!
        planning = PlanningKernels(set)
    }

    init(_ table: UnsafePointer<vdit_attention>) {
        self.table = table
        planning = PlanningKernels(.scalar)
    }

    /// What keys, and values, are rounded to before anything else.
    var keyType: DType { table.pointee.key_type == VDIT_BF16 ? .bf16 : .f32 }
    var valueType: DType { table.pointee.value_type == VDIT_BF16 ? .bf16 : .f32 }

    var keysPerPanel: Int { Int(table.pointee.keys_per_panel) }
    /// Bytes of a panel of keys, and of values.
    func keyBytes(_ headDim: Int) -> Int { Int(table.pointee.key_bytes(Int32(headDim))) }
    func valueBytes(_ headDim: Int) -> Int { Int(table.pointee.value_bytes(Int32(headDim))) }

    /// What it works in for such calls.
    func memory(for calls: [vdit_attend_call], _ scratch: Scratch) -> Tensor {
        scratch.tensor(.u8, [Int(table.pointee.scratch_bytes(calls, Int32(calls.count)))])
    }

    /// What is subtracted from keys before they are packed, `[heads, headDim]` f32: their means over all tokens, where
    /// the kernel rounds them to a few bits. It moves all scores of a query by the same.
    ///
    /// - Parameter k: `[heads, keys, headDim]` f32 or bf16.
    fileprivate func means(of k: Tensor, _ pool: WorkPool) -> Tensor? {
        guard table.pointee.smooths_keys != 0 else { return nil }
        let means = Tensor(.f32, [k.shape[0], k.shape[2]])
        pool.run(k.shape[0]) { head, _ in
            planning.blockMeans(k[head], order: nil, offsets: [0, Int32(k.shape[1])], into: means[head])
        }
        return means
    }

    /// The AMX kernel with its tile instructions emulated, for tests; nil without AVX-512 BF16.
    public static var emulatedAMX: AttentionKernel? { vdit_attention_amx_emulated().map { AttentionKernel($0) } }

    /// Every one with int8 scores that this CPU can run, for tests.
    public static var withInt8Scores: [AttentionKernel] {
        var tables = [UnsafePointer<vdit_attention>?](repeating: nil, count: Int(VDIT_INT8_KERNELS))
        let count = vdit_attention_int8_all(&tables)
        return tables.prefix(Int(count)).compactMap { $0 }.map { AttentionKernel($0) }
    }

    /// The instruction set computed with, which may be an earlier one than asked for.
    public var description: String { String(cString: table.pointee.name) }
}

/// One head of a `[heads, tokens, headDim]` or a `[tokens, heads, headDim]` tensor, f32 or bf16.
public struct HeadView {
    let tensor: Tensor
    let offset: Int
    let stride: Int
    let tokens: Int

    /// Head `head` of `[heads, tokens, headDim]`.
    public init(headMajor tensor: Tensor, head: Int) {
        precondition(tensor.rank == 3 && head >= 0 && head < tensor.shape[0])
        self.tensor = tensor
        offset = head * tensor.shape[1] * tensor.shape[2]
        stride = tensor.shape[2]
        tokens = tensor.shape[1]
    }

    /// Head `head` of `[tokens, heads, headDim]`.
    public init(tokenMajor tensor: Tensor, head: Int) {
        precondition(tensor.rank == 3 && head >= 0 && head < tensor.shape[1])
        self.tensor = tensor
        offset = head * tensor.shape[2]
        stride = tensor.shape[1] * tensor.shape[2]
        tokens = tensor.shape[0]
    }

    var headDim: Int { tensor.shape[2] }

    var type: vdit_float_type {
        precondition(tensor.dtype == .f32 || tensor.dtype == .bf16, "attention on \(tensor.dtype)")
        return tensor.dtype == .bf16 ? VDIT_BF16 : VDIT_F32
    }

    var data: UnsafeMutableRawPointer { tensor.rawPointer + offset * tensor.dtype.byteCount }

    func rows(_ order: UnsafePointer<Int32>?, _ first: Int) -> vdit_token_rows {
        vdit_token_rows(
            data: data, type: type, stride: Int64(stride), order: order.map { $0 + first },
            first: Int64(first))
    }
}

/// The keys of one head cut into blocks.
public struct KeyBlocks: Sendable {
    /// `order[position]` is a token; nil is the identity.
    public let order: [Int32]?
    /// Block boundaries in positions: first 0, last the number of keys, strictly ascending.
    public let offsets: [Int32]
    /// First panel of each block, and the number of panels.
    let panels: [Int32]

    public init(order: [Int32]? = nil, offsets: [Int32], kernel: AttentionKernel) {
        self.order = order
        self.offsets = offsets
        let size = kernel.table.pointee.keys_per_panel
        var panels: [Int32] = [0]
        panels.reserveCapacity(offsets.count)
        for (start, end) in zip(offsets, offsets.dropFirst()) {
            precondition(start < end, "key blocks are not empty")
            panels.append(panels.last! + (end - start + size - 1) / size)
        }
        self.panels = panels
    }

    var count: Int { offsets.count - 1 }
    var panelCount: Int { Int(panels[count]) }
}

/// Keys and values of every head in the layout one kernel reads. Immutable; reused for any number of queries.
public struct PackedKeys: Sendable {
    public let kernel: AttentionKernel
    public let heads: Int
    /// Keys of each head.
    public let keys: Int
    public let headDim: Int
    /// One entry per head, or a single one that all heads share.
    let blocks: [KeyBlocks]
    private let firstPanel: [Int]
    private let packedKeys: Tensor
    private let packedValues: Tensor
    private let packedBias: Tensor?
    /// Of each head, what its keys are packed less.
    let means: Tensor?

    /// Bytes it holds.
    public var byteCount: Int { packedKeys.byteCount + packedValues.byteCount }

    /// Packs `[heads, keys, headDim]` f32 or bf16 tensors, gathered by the blocks' order.
    /// - Parameters:
    ///   - bias: `[heads, keys]` f32, added to the scaled scores of each key; nil for none. The logarithm of
    ///     the number of tokens a pooled key stands for.
    ///   - blocks: one entry per head, or one that all heads share, made for the same kernel.
    ///   - buffers: where the packed copies live.
    public init(
        k: Tensor, v: Tensor, bias: Tensor? = nil, blocks: [KeyBlocks], kernel: AttentionKernel, pool: WorkPool,
        buffers: TensorPool = TensorPool()
    ) {
        precondition(k.rank == 3 && k.shape == v.shape && k.shape[1] >= 1)
        precondition(bias.map { $0.dtype == .f32 && $0.shape == Array(k.shape.prefix(2)) } ?? true)
        precondition(AttentionKernel.serves(headDim: k.shape[2]), "head dimension \(k.shape[2])")
        precondition(blocks.count == 1 || blocks.count == k.shape[0])
        self.kernel = kernel
        let (heads, keys, headDim) = (k.shape[0], k.shape[1], k.shape[2])
        (self.heads, self.keys, self.headDim) = (heads, keys, headDim)
        self.blocks = blocks

        var firstPanel = [0]
        var items: [(head: Int, blocks: Range<Int>)] = []
        for head in 0..<heads {
            let layout = blocks[blocks.count == 1 ? 0 : head]
            precondition(layout.offsets.first == 0 && layout.offsets.last == Int32(keys))
            precondition(layout.order.map { $0.count == keys } ?? true)
            firstPanel.append(firstPanel[head] + layout.panelCount)
            var start = 0
            for block in 0..<layout.count where layout.offsets[block + 1] - layout.offsets[start] >= 512 {
                items.append((head, start..<block + 1))
                start = block + 1
            }
            if start < layout.count { items.append((head, start..<layout.count)) }
        }
        self.firstPanel = firstPanel

        let (ofKeys, ofValues) = (kernel.keyBytes(headDim), kernel.valueBytes(headDim))
        let packedKeys = buffers.tensor(.u8, [firstPanel[heads] * ofKeys])
        let packedValues = buffers.tensor(.u8, [firstPanel[heads] * ofValues])
        let means = kernel.means(of: k, pool)
        let perPanel = kernel.keysPerPanel
        let packedBias = bias.map { _ in Tensor(.f32, [firstPanel[heads] * perPanel]) }
        let dim = Int32(headDim)
        pool.run(items.count) { [firstPanel, items] item, _ in
            let table = kernel.table.pointee
            let (head, range) = items[item]
            let layout = blocks[blocks.count == 1 ? 0 : head]
            for block in range {
                let first = Int(layout.offsets[block])
                let count = Int64(layout.offsets[block + 1]) - Int64(first)
                let panel = firstPanel[head] + Int(layout.panels[block])
                layout.order.withPointer { order in
                    var rows = HeadView(headMajor: k, head: head).rows(order, first)
                    table.pack_keys(
                        &rows, count, dim, means?[head].pointer(as: Float.self), packedKeys.rawPointer + panel * ofKeys)
                    rows = HeadView(headMajor: v, head: head).rows(order, first)
                    table.pack_values(&rows, count, dim, packedValues.rawPointer + panel * ofValues)
                    guard let bias, let packedBias else { return }
                    let from = bias[head].pointer(as: Float.self)
                    let to = packedBias.pointer(as: Float.self) + panel * perPanel
                    for i in 0..<Int(count) { to[i] = from[order.map { Int($0[first + i]) } ?? first + i] }
                }
            }
        }
        self.packedKeys = packedKeys
        self.packedValues = packedValues
        self.packedBias = packedBias
        self.means = means
    }

    /// Packs all keys as one block.
    public init(k: Tensor, v: Tensor, kernel: AttentionKernel, pool: WorkPool) {
        let whole = KeyBlocks(offsets: [0, Int32(k.shape[1])], kernel: kernel)
        self.init(k: k, v: v, blocks: [whole], kernel: kernel, pool: pool)
    }

    /// Attention of query blocks of one head, on the calling thread. Each comes to the bytes it comes to alone; keys
    /// that several of them keep are fetched once.
    ///
    /// - Parameters:
    ///   - order: `order[position]` is the row of `q`, `out` and `logSumExp`; nil is the identity.
    ///   - rest: made beside these, stands for the key blocks that are not kept; nil leaves them out.
    ///   - logSumExp: `[tokens]` f32, natural log of the softmax denominator.
    public func attend(
        head: Int, q: HeadView, order: [Int32]? = nil, blocks queries: [QueryBlock], rest: PooledKeys? = nil,
        scale: Float, out: HeadView, logSumExp: Tensor? = nil, scratch: Scratch
    ) {
        precondition(q.headDim == headDim && out.headDim == headDim)
        precondition(logSumExp.map { $0.dtype == .f32 && $0.count == q.tokens } ?? true)
        let layout = blocks[blocks.count == 1 ? 0 : head]
        let panels = vdit_key_panels(
            keys: packedKeys.rawPointer + firstPanel[head] * kernel.keyBytes(headDim),
            values: packedValues.rawPointer + firstPanel[head] * kernel.valueBytes(headDim),
            bias: packedBias.map {
                UnsafePointer($0.pointer(as: Float.self)) + firstPanel[head] * kernel.keysPerPanel
            }, mean: means.map { UnsafePointer($0[head].pointer(as: Float.self)) })
        order.withPointer { order in
            layout.panels.withUnsafeBufferPointer { blockPanels in
                layout.offsets.withUnsafeBufferPointer { offsets in
                    var calls: [vdit_attend_call] = []
                    for block in queries {
                        let (positions, kept, masses) = (block.positions, block.kept, block.masses)
                        precondition(positions.lowerBound >= 0 && positions.upperBound <= min(q.tokens, out.tokens))
                        precondition((1...AttentionKernel.rows).contains(positions.count), "rows of a query block")
                        precondition(masses.map { $0.dtype == .f32 && $0.count == kept.count } ?? true)
                        let pooled = rest?.spans(
                            head: head, leavingOut: kept, levels: block.levels, scratch: scratch)
                        precondition(!kept.isEmpty || pooled != nil)
                        let sums = masses.map { _ in scratch.tensor(.f32, [positions.count, kept.count + 1]) }
                        let call = vdit_attend_call(
                            q: q.rows(order, positions.lowerBound), rows: Int32(positions.count),
                            head_dim: Int32(headDim), scale: scale, panels: panels,
                            block_panel: blockPanels.baseAddress, block_keys: offsets.baseAddress,
                            kept: scratch.copy(kept), kept_count: Int32(kept.count),
                            rest: pooled.map { UnsafePointer($0.list) }, rest_count: Int32(pooled?.count ?? 0),
                            out: out.data, out_type: out.type, out_stride: Int64(out.stride),
                            lse: logSumExp?.pointer(as: Float.self), masses: masses?.pointer(as: Float.self),
                            mass_sums: sums?.pointer(as: Float.self))
                        if let slope = pooled?.slope {
                            slope.attend(call, kernel: kernel, scratch: scratch)
                        } else {
                            calls.append(call)
                        }
                    }
                    if calls.isEmpty { return }
                    kernel.table.pointee.attend(
                        calls, Int32(calls.count), kernel.memory(for: calls, scratch).rawPointer)
                }
            }
        }
    }
}

/// Some queries of a head, and the keys they attend to.
public struct QueryBlock {
    let positions: Range<Int>
    let kept: ArraySlice<Int32>
    let levels: ArraySlice<UInt8>?
    let masses: Tensor?

    /// - Parameters:
    ///   - positions: places in the order of queries, 1 ... `AttentionKernel.rows` of them.
    ///   - kept: indices of key blocks, ascending; at least one where there is no rest.
    ///   - levels: of each key block, which of the rest's levels stands for it, counted from 1; 0 for none. Nil is the
    ///     only one.
    ///   - masses: `[kept]` f32, the softmax mass on each kept block, mean over the queries.
    public init(
        positions: Range<Int>, kept: ArraySlice<Int32>, levels: ArraySlice<UInt8>? = nil, masses: Tensor? = nil
    ) {
        (self.positions, self.kept, self.levels, self.masses) = (positions, kept, levels, masses)
    }
}

extension Scratch {
    fileprivate func copy(_ list: ArraySlice<Int32>) -> UnsafePointer<Int32> {
        let copy = tensor(.i32, [list.count]).pointer(as: Int32.self)
        for (index, value) in list.enumerated() { copy[index] = value }
        return UnsafePointer(copy)
    }
}

extension Range<Int> {
    /// The range cut into the fewest consecutive parts of at most `limit`, as equal as can be.
    public func parts(atMost limit: Int) -> [Range<Int>] {
        let parts = (count + limit - 1) / limit
        return (0..<parts).map { part in
            lowerBound + count * part / parts..<lowerBound + count * (part + 1) / parts
        }
    }
}

extension [Int32]? {
    func withPointer<R>(_ body: (UnsafePointer<Int32>?) -> R) -> R {
        guard let self else { return body(nil) }
        return self.withUnsafeBufferPointer { body($0.baseAddress) }
    }
}
