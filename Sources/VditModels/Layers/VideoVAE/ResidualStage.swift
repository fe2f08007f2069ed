import VditTensor

/// `shortcut(x) + conv2(silu(norm2(conv1(silu(norm1(x))))))`, the convolutions causal.
struct ResidualStage: VAEStage {
    let name: String
    let norms: (first: VAENorm, second: VAENorm)
    let first: VAEConvolution
    let second: VAEConvolution
    /// Pointwise, where the channels change.
    let shortcut: VAEConvolution?

    var tensors: [(name: String, shape: [Int])] {
        norms.first.tensors + norms.second.tensors + first.tensors + second.tensors + (shortcut?.tensors ?? [])
    }

    func flops(_ clip: VAEClip) -> Double {
        clip.flops(perPixel: first.weightCount + second.weightCount + (shortcut?.weightCount ?? 0))
    }

    func memory(_ clip: VAEClip, operandBytes: Int) -> VAEMemory {
        let (from, to) = (first.from, first.to)
        return VAEMemory(
            kept: 2 * clip.area * (from + to) * operandBytes,
            passing: 2 * clip.area * (from * (4 + operandBytes) + to * (4 + 2 * operandBytes)))
    }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        let (first, second) = (try loader.convolution(first), try loader.convolution(second))
        let shortcut = try shortcut.map { shortcut throws(TensorError) in try loader.convolution(shortcut) }
        let gammas = (try norms.first.load(loader), try norms.second.load(loader))
        return { height, width, compute throws(TensorError) in
            try ResidualLayer(first, second, shortcut, gammas, height, width, compute)
        }
    }
}

/// The first convolution's output exists only normalised and activated, as the second one's input.
private final class ResidualLayer: VAELayer {
    private var first: CausalConvolution
    private var second: CausalConvolution
    private let hasShortcut: Bool
    private let gammas: (Tensor, Tensor)
    private let operand: DType
    private let size: (height: Int, width: Int, channels: Int)

    init(
        _ first: PackedVAEConvolution, _ second: PackedVAEConvolution, _ shortcut: PackedVAEConvolution?,
        _ gammas: (Tensor, Tensor), _ height: Int, _ width: Int, _ compute: ComputeContext
    ) throws(TensorError) {
        self.first = try CausalConvolution(first, height, width, compute)
        self.second = try CausalConvolution(second, shortcut: shortcut, height, width, compute)
        hasShortcut = shortcut != nil
        self.gammas = gammas
        operand = first.operand
        size = (height, width, first.outChannels)
    }

    func demand(before next: VAEDemand) -> VAEDemand {
        VAEDemand(stream: true, operand: operand, preparation: .activated(gamma: gammas.0))
    }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        let between = VAEDemand(
            stream: false, operand: operand, preparation: .activated(gamma: gammas.1))
        let middle = group.frames.map { _ in session.target(size.height, size.width, size.channels, for: between) }
        try first(group.frames.compactMap(\.operand), into: middle)
        let streams = group.frames.compactMap(\.stream)
        let targets = streams.map {
            session.target(
                size.height, size.width, size.channels, for: next,
                reusing: hasShortcut || !group.remembered.isEmpty ? nil : $0)
        }
        try second(
            middle.compactMap(\.operand), into: targets,
            adding: streams.map { hasShortcut ? .shortcut($0) : .frame($0) })
        try emit(
            VAEGroup(frames: targets.map(\.frame), remembered: group.remembered, isFirst: group.isFirst))
    }
}
