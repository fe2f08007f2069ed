import VditTensor

// Shortcuts around several stages that change the size: from space (and time) to channels and back.

/// Keeps its input's streams for the shortcut around the stages that follow.
struct RememberStage: VAEStage {
    var name: String { "remember" }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        { _, _, _ throws(TensorError) in RememberLayer() }
    }
}

private final class RememberLayer: VAELayer {
    func demand(before next: VAEDemand) -> VAEDemand {
        var wanted = next
        wanted.stream = .f32
        return wanted
    }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        group.remembered = group.frames.compactMap(\.stream).map { .init(stream: $0, part: 0) }
        try emit(group)
    }
}

/// What an enlarging stage adds of the remembered frames: channels repeated, then unfolded into
/// (channel, time, row, column).
/// - Source: DupUp3D of AutoencoderKLWan, diffusers.
struct DuplicatingShortcut: Sendable {
    /// Of the remembered frames.
    let channels: Int
    /// Frames made of each.
    let frames: Int

    /// The source channel of every output channel, by time part, row and column.
    func tables(outChannels: Int) -> [[Int32]] {
        let parts = frames * 4
        let repeats = outChannels * parts / channels
        return (0..<parts).map { part in
            (0..<outChannels).map { Int32(($0 * parts + part) / repeats) }
        }
    }
}

/// Adds the remembered frames, averaged over `frames` in time and `factor` in height and width.
struct AverageStage: VAEStage {
    let channels: Int
    let frames: Int
    let factor: Int

    var name: String { "average" }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        { [self] _, _, _ throws(TensorError) in AverageLayer(self) }
    }
}

private final class AverageLayer: VAELayer {
    private let stage: AverageStage

    init(_ stage: AverageStage) { self.stage = stage }

    func demand(before next: VAEDemand) -> VAEDemand { VAEDemand(stream: .f32, operand: nil) }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        let frames = stage.frames
        let remembered = group.remembered.map(\.stream)
        // Missing frames are zeros in front.
        let padded = Array(repeating: Tensor?.none, count: group.frames.count * frames - remembered.count)
            + remembered
        var targets: [FrameTarget] = []
        for (index, frame) in group.frames.enumerated() {
            guard let stream = frame.stream else { preconditionFailure("the average needs the stream") }
            let (height, width) = (stream.shape[0], stream.shape[1])
            let mean = session.tensors.tensor(.f32, [height, width, stage.channels])
            averageFold(
                Array(padded[index * frames..<(index + 1) * frames]), factor: stage.factor, into: mean,
                compute: session.compute)
            let target = session.target(height, width, stage.channels, for: next)
            finishFrame(stream, adding: mean, to: target, compute: session.compute)
            targets.append(target)
        }
        try emit(VAEGroup(frames: targets.map(\.frame), isFirst: group.isFirst))
    }
}
