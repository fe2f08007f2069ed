import VditTensor

/// A convolution, `kernel` in time, height and width; after a norm and SiLU if there is a norm.
struct ConvolutionStage: VAEStage {
    let convolution: VAEConvolution
    let norm: VAENorm?
    let padding: TimePadding

    init(_ convolution: VAEConvolution, norm: VAENorm? = nil, padding: TimePadding = .zerosBefore) {
        self.convolution = convolution
        self.norm = norm
        self.padding = padding
    }

    var name: String { convolution.name }
    var tensors: [(name: String, shape: [Int])] { convolution.tensors + (norm?.tensors ?? []) }

    func flops(_ clip: VAEClip) -> Double { clip.flops(perPixel: convolution.weightCount) }

    func memory(_ clip: VAEClip, operandBytes: Int) -> VAEMemory {
        let (from, to) = (convolution.from, convolution.to)
        return VAEMemory(
            kept: convolution.times > 1 ? 2 * clip.area * from * operandBytes : 0,
            passing: 2 * clip.area * (from * operandBytes + to * (4 + operandBytes)),
            together: clip.frames * clip.area * (from * (gathers ? 4 : operandBytes) + to * 4))
    }

    var gathers: Bool { norm?.isOfGroup == true }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        let (times, padding) = (convolution.times, padding)
        // The pointwise convolutions at the latents are cheap and see every digit: fp32.
        let isPointwise = convolution.kernel.allSatisfy { $0 == 1 }
        let packed = try loader.convolution(convolution, operand: isPointwise ? .f32 : nil)
        let norm = try norm.map { norm throws(TensorError) in try norm.load(loader) }
        return { height, width, session throws(TensorError) in
            let inlet = try VAEInlet(norm, activates: true, operand: packed.operand, session)
            return try ConvolutionLayer(packed, times, inlet, padding, height, width, session.compute)
        }
    }
}

private final class ConvolutionLayer: VAELayer {
    private let convolution: TimeConvolution
    private let inlet: VAEInlet
    private var window: TimeWindow?
    private let size: (height: Int, width: Int, channels: Int)
    private var hasEmitted = false

    init(
        _ packed: PackedVAEConvolution, _ times: Int, _ inlet: VAEInlet, _ padding: TimePadding,
        _ height: Int, _ width: Int, _ compute: ComputeContext
    ) throws(TensorError) {
        convolution = try TimeConvolution(packed, times: times, height, width, compute)
        self.inlet = inlet
        window = times == 3 ? TimeWindow(padding) : nil
        size = (height, width, packed.outChannels)
    }

    func demand(before next: VAEDemand) -> VAEDemand { inlet.demand() }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        var batches = try inlet.batches(of: group.frames, session)
        while let batch = batches.next() {
            let isLast = group.isLast && batches.isEmpty
            let frames = window?(batch, isLast: isLast) ?? batch
            try inTwos(window?.outputs(of: frames) ?? frames.count, isLast: isLast) { range, isLast in
                let targets = range.map { _ in session.target(size.height, size.width, size.channels, for: next) }
                let needed = range.lowerBound..<range.upperBound + (window == nil ? 0 : 2)
                try convolution(frames[needed].map(\.operand), into: targets)
                try emit(VAEGroup(frames: targets.map(\.frame), isFirst: !hasEmitted, isLast: isLast))
                hasEmitted = true
            }
        }
    }
}
