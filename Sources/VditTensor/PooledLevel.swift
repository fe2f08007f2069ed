import CVditKernels
import Glibc

/// Where a head's blocks are cut into runs, and where those lie.
struct RunCut: Sendable {
    /// Boundaries of the runs, in positions.
    private(set) var offsets: [Int32] = []
    /// Of each block the first run, then the number of all.
    private(set) var runs: [Int] = []
    /// Of each block the place of its first run, then the number of all.
    private(set) var places: [Int] = []
    /// Of each place, the logarithm of its keys' number.
    private(set) var bias: [Float] = []
    /// Whether runs are packed once for all. Else they lie in rows, and each query block packs those it sees: where
    /// those are few and their blocks fill no panels, it would be multiplied with many more.
    let isPacked: Bool
    /// Whether each block begins a panel; what the last one of a block does not fill is hidden.
    let startsPanels: Bool
    private let perPanel: Int

    /// - Parameter areChosen: whether pairs of blocks choose these runs among several.
    init(_ blocks: KeyBlocks, run size: Int, areChosen: Bool, _ kernel: AttentionKernel) {
        perPanel = kernel.keysPerPanel
        let bounds = zip(blocks.offsets, blocks.offsets.dropFirst()).map { (Int($0), Int($1)) }
        let longest = bounds.map { $1 - $0 }.max() ?? 1
        isPacked = !areChosen || (longest - 1) / size + 1 >= perPanel
        startsPanels = areChosen && isPacked
        for (start, end) in bounds {
            fillPanel()
            runs.append(offsets.count)
            places.append(bias.count)
            for first in stride(from: start, to: end, by: min(size, end - start)) {
                offsets.append(Int32(first))
                bias.append(logf(Float(min(size, end - first))))
            }
        }
        fillPanel()
        runs.append(offsets.count)
        places.append(bias.count)
        offsets += blocks.offsets.suffix(1)
    }

    private mutating func fillPanel() {
        while startsPanels && bias.count % perPanel != 0 { bias.append(VDIT_HIDDEN) }
    }

    var panels: Int { (bias.count + perPanel - 1) / perPanel }

    /// Blocks whose runs are made and placed at a time, for threads to share and caches to hold: so many that no
    /// other's runs lie in their panels.
    var slabs: [Range<Int>] {
        var slabs: [Range<Int>] = []
        var first = 0
        for block in 1..<runs.count {
            let fillsPanels = !isPacked || places[block] % perPanel == 0
            if fillsPanels && offsets[runs[block]] - offsets[runs[first]] >= 1024 || block + 1 == runs.count {
                slabs.append(first..<block)
                first = block
            }
        }
        return slabs
    }

    /// The runs of blocks.
    func runs(of blocks: Range<Int>) -> Range<Int> { runs[blocks.lowerBound]..<runs[blocks.upperBound] }
}

/// Keys and values of a head's runs of one length. A class: every query block takes hold of it.
final class PooledLevel: Sendable {
    let cut: RunCut
    private let kernel: AttentionKernel
    private let headDim: Int
    /// Panels, or `[runs, headDim]` in the kernel's types.
    private let keys: Tensor
    private let values: Tensor

    init(_ cut: RunCut, headDim: Int, _ kernel: AttentionKernel, _ buffers: TensorPool) {
        (self.cut, self.headDim, self.kernel) = (cut, headDim, kernel)
        let rows = [cut.runs[cut.runs.count - 1], headDim]
        if cut.isPacked {
            keys = buffers.tensor(.u8, [cut.panels * kernel.keyBytes(headDim)])
            values = buffers.tensor(.u8, [cut.panels * kernel.valueBytes(headDim)])
        } else {
            (keys, values) = (buffers.tensor(kernel.keyType, rows), buffers.tensor(kernel.valueType, rows))
        }
    }

    /// - Parameters:
    ///   - means: `[runs, headDim]` f32, those of the blocks, which are one of the cut's slabs.
    ///   - mean: what keys are packed less.
    func place(keys means: Tensor, of blocks: Range<Int>, less mean: UnsafePointer<Float>?) {
        guard cut.isPacked else { return keys.slice(cut.runs(of: blocks)).convert(from: means) }
        forEachPiece(of: means, blocks) { rows, count, panel in
            kernel.table.pointee.pack_keys(
                &rows, count, Int32(headDim), mean, keys.rawPointer + panel * kernel.keyBytes(headDim))
        }
    }

    /// - Parameters: as for keys.
    func place(values means: Tensor, of blocks: Range<Int>) {
        guard cut.isPacked else { return values.slice(cut.runs(of: blocks)).convert(from: means) }
        forEachPiece(of: means, blocks) { rows, count, panel in
            kernel.table.pointee.pack_values(
                &rows, count, Int32(headDim), values.rawPointer + panel * kernel.valueBytes(headDim))
        }
    }

    /// Rows that lie side by side, and the first panel they go to.
    private func forEachPiece(
        of means: Tensor, _ blocks: Range<Int>, _ body: (inout vdit_token_rows, Int64, Int) -> Void
    ) {
        var rows = vdit_token_rows(
            data: means.rawPointer, type: VDIT_F32, stride: Int64(headDim), order: nil, first: 0)
        guard cut.startsPanels else {
            return body(&rows, Int64(means.rowCount), cut.places[blocks.lowerBound] / kernel.keysPerPanel)
        }
        for block in blocks {
            let runs = cut.runs(of: block..<block + 1)
            body(&rows, Int64(runs.count), cut.places[block] / kernel.keysPerPanel)
            rows.first += Int64(runs.count)
        }
    }

    /// Lists the panels that hold the runs of some blocks, ascending and none twice, with no other in sight.
    func show(
        _ blocks: [Range<Int>], _ mean: UnsafePointer<Float>?, in spans: inout PooledKeys.Spans, _ scratch: Scratch
    ) {
        if blocks.isEmpty { return }
        if cut.isPacked { list(blocks, mean, &spans, scratch) } else { pack(blocks, mean, &spans, scratch) }
    }

    private func places(of blocks: Range<Int>) -> Range<Int> {
        cut.places[blocks.lowerBound]..<cut.places[blocks.upperBound]
    }

    /// Lists the panels as they are, with biases that hide the other places.
    private func list(
        _ blocks: [Range<Int>], _ mean: UnsafePointer<Float>?, _ spans: inout PooledKeys.Spans, _ scratch: Scratch
    ) {
        let perPanel = kernel.keysPerPanel
        let bias = scratch.tensor(.f32, [cut.panels * perPanel]).pointer(as: Float.self)
        func append(_ panels: Range<Int>) {
            if panels.isEmpty { return }
            let first = panels.lowerBound
            spans.append(
                vdit_key_panels(
                    keys: keys.rawPointer + first * kernel.keyBytes(headDim),
                    values: values.rawPointer + first * kernel.valueBytes(headDim), bias: bias + first * perPanel,
                    mean: mean),
                count: min(panels.upperBound * perPanel, cut.bias.count) - first * perPanel)
        }
        copyBias(of: 0..<cut.bias.count, to: bias)
        var (listed, shown) = (0..<0, 0)
        func hide(upTo place: Int) { for hidden in shown..<place { bias[hidden] = VDIT_HIDDEN } }
        for some in blocks.lazy.map(places) {
            hide(upTo: some.lowerBound)
            shown = some.upperBound
            let panels = max(listed.upperBound, some.lowerBound / perPanel)..<(some.upperBound - 1) / perPanel + 1
            if panels.lowerBound > listed.upperBound {
                append(listed)
                listed = panels
            }
            listed = listed.lowerBound..<panels.upperBound
        }
        hide(upTo: cut.bias.count)
        append(listed)
    }

    /// Packs the runs, one behind the other.
    private func pack(
        _ blocks: [Range<Int>], _ mean: UnsafePointer<Float>?, _ spans: inout PooledKeys.Spans, _ scratch: Scratch
    ) {
        let count = blocks.reduce(0) { $0 + places(of: $1).count }
        let panels = (count - 1) / kernel.keysPerPanel + 1
        let packedKeys = scratch.tensor(.u8, [panels * kernel.keyBytes(headDim)])
        let packedValues = scratch.tensor(.u8, [panels * kernel.valueBytes(headDim)])
        let bias = scratch.tensor(.f32, [panels * kernel.keysPerPanel]).pointer(as: Float.self)
        let order = scratch.tensor(.i32, [count]).pointer(as: Int32.self)
        var next = 0
        for some in blocks.lazy.map(places) {
            copyBias(of: some, to: bias + next)
            for place in some {
                order[next] = Int32(place)
                next += 1
            }
        }
        let table = kernel.table.pointee
        var rows = vdit_token_rows(
            data: keys.rawPointer, type: table.key_type, stride: Int64(headDim), order: order, first: 0)
        table.pack_keys(&rows, Int64(count), Int32(headDim), mean, packedKeys.rawPointer)
        (rows.data, rows.type) = (UnsafeRawPointer(values.rawPointer), table.value_type)
        table.pack_values(&rows, Int64(count), Int32(headDim), packedValues.rawPointer)
        spans.append(
            vdit_key_panels(keys: packedKeys.rawPointer, values: packedValues.rawPointer, bias: bias, mean: mean),
            count: count)
    }

    private func copyBias(of places: Range<Int>, to: UnsafeMutablePointer<Float>) {
        cut.bias[places].withUnsafeBufferPointer { bias in
            if let from = bias.baseAddress { to.update(from: from, count: places.count) }
        }
    }
}
