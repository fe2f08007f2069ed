import VditTensor

/// One step of a video VAE's encoder or decoder, as it is known before there are weights: its tensors, its
/// work, what it keeps in memory and what it makes of the frames. A VAE is two lists of stages.
///
/// A family that needs something new adds a stage, or a case of what stages are made of: `VAENorm`, `VAEConvolution`,
/// `TimePadding`, `ShortcutStages`.
protocol VAEStage: Sendable {
    /// The name intermediates are recorded under, and the first part of the names of its tensors.
    var name: String { get }
    var tensors: [(name: String, shape: [Int])] { get }

    /// The clip that leaves when this one enters.
    func output(of clip: VAEClip) -> VAEClip

    /// Multiply-adds, each counted as 2, of a whole clip that enters.
    func flops(_ clip: VAEClip) -> Double

    /// Bytes for frames of the size of those that enter.
    func memory(_ clip: VAEClip, operandBytes: Int) -> VAEMemory

    /// Whether it looks at all frames that enter together before one leaves, so that they stay together up to it.
    var gathers: Bool { get }

    /// Whether what enters is gone when it hands on what it made, and with it all that passed before.
    var handsOver: Bool { get }

    /// Packs the weights.
    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker
}

/// A stage with its weights packed: makes the layer that runs it on frames of `height` × `width` in one encode or
/// decode. Called in the stages' order.
typealias VAELayerMaker =
    @Sendable (_ height: Int, _ width: Int, _ session: VAESession) throws(TensorError) -> any VAELayer

/// The extents of a clip somewhere between the stages; of the frames that enter together, where memory is asked for.
struct VAEClip {
    var frames: Int
    var height: Int
    var width: Int

    /// Pixels of a frame.
    var area: Int { height * width }

    /// Operations of so many multiply-adds for each pixel of each frame.
    func flops(perPixel: Int) -> Double { 2 * Double(frames) * Double(area) * Double(perPixel) }
}

/// Bytes a stage needs.
struct VAEMemory {
    /// From one group of frames to the next: the past of convolutions over time.
    var kept = 0
    /// While the widest group of frames passes: what enters, what leaves unless the next stage says what enters it, and
    /// what is between.
    var passing = 0
    /// Of these, what enters in the form the stage asks for.
    var entering = 0
    /// The same of a group that stays together, which leaves a stage before the next begins.
    var together = 0
}

extension VAEStage {
    var tensors: [(name: String, shape: [Int])] { [] }
    func output(of clip: VAEClip) -> VAEClip { clip }
    func flops(_ clip: VAEClip) -> Double { 0 }
    func memory(_ clip: VAEClip, operandBytes: Int) -> VAEMemory { VAEMemory() }
    var gathers: Bool { false }
    var handsOver: Bool { false }
}

extension [any VAEStage] {
    var tensors: [(name: String, shape: [Int])] { flatMap(\.tensors) }

    /// The clip that leaves the last stage when this one enters the first.
    func output(of clip: VAEClip) -> VAEClip { reduce(clip) { $1.output(of: $0) } }

    /// Multiply-adds, each counted as 2, of a clip that enters the first stage.
    func flops(_ clip: VAEClip) -> Double {
        var clip = clip
        return reduce(0) { total, stage in
            defer { clip = stage.output(of: clip) }
            return total + stage.flops(clip)
        }
    }

    /// Bytes held at most beside the weights: what every stage keeps; of groups that stay together the largest; and
    /// behind those at every resolution the widest stage's passing frames, since a group at one resolution waits for
    /// those made of it at the next, unless it is handed over. With what their pool keeps idle.
    func bytes(_ clip: VAEClip, operandBytes: Int) -> Int {
        var clip = clip
        var kept = 0
        var passing: [Int: Int] = [:]
        var (together, most) = (0, 0)
        var handed = 0
        let gathered = lastIndex(where: \.gathers).map { $0 + 1 } ?? 0
        for (index, stage) in enumerated() {
            let memory = stage.memory(clip, operandBytes: operandBytes)
            clip = stage.output(of: clip)
            kept += memory.kept
            if index < gathered {
                together = Swift.max(together, memory.together)
                continue
            }
            passing[clip.height] = Swift.max(passing[clip.height] ?? 0, memory.passing, handed + memory.entering)
            most = Swift.max(most, passing.values.reduce(0, +))
            handed = 0
            if stage.handsOver {
                passing = [:]
                handed = memory.passing
            }
        }
        let alive = kept + most + together
        return alive + alive / TensorPool.idlePart
    }
}
