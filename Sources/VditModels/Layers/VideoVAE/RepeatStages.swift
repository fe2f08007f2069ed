import VditTensor

/// Repeats frames: each of an even number that enter together, all but the first of an odd number.
/// - Source: the upsampling in time of `CogVideoXUpsample3D`, diffusers 0.42.1. Its convolution is of single frames,
///   so that it may come first.
struct RepeatTimeStage: VAEStage {
    let name: String

    func output(of clip: VAEClip) -> VAEClip {
        VAEClip(frames: 2 * clip.frames - clip.frames % 2, height: clip.height, width: clip.width)
    }

    var gathers: Bool { true }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        { _, _, _ throws(TensorError) in RepeatTimeLayer() }
    }
}

private final class RepeatTimeLayer: VAELayer {
    func demand(before next: VAEDemand) -> VAEDemand { VAEDemand(stream: .f32, operand: nil, together: true) }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        let single = group.frames.count % 2
        var frames = Array(group.frames.prefix(single))
        for frame in group.frames.dropFirst(single) {
            guard let stream = frame.stream else { preconditionFailure("repeating needs the stream") }
            // What follows may write over either.
            let copy = session.target(stream.shape[0], stream.shape[1], stream.shape[2], for: next)
            finishFrame(stream, to: copy, compute: session.compute)
            frames += [frame, copy.frame]
        }
        try emit(VAEGroup(frames: frames, isFirst: group.isFirst, isLast: group.isLast))
    }
}

/// Means of two frames each, of an odd number that enter together all but the first.
/// - Source: the downsampling in time of `CogVideoXDownsample3D`, diffusers 0.42.1.
struct MeanTimeStage: VAEStage {
    let name: String

    func output(of clip: VAEClip) -> VAEClip {
        VAEClip(frames: (clip.frames + 1) / 2, height: clip.height, width: clip.width)
    }

    var gathers: Bool { true }

    func load(_ loader: VAEWeightLoader) throws(TensorError) -> VAELayerMaker {
        { _, _, _ throws(TensorError) in MeanTimeLayer() }
    }
}

private final class MeanTimeLayer: VAELayer {
    func demand(before next: VAEDemand) -> VAEDemand { VAEDemand(stream: .f32, operand: nil, together: true) }

    func step(
        _ group: VAEGroup, for next: VAEDemand, _ session: VAESession, emit: (VAEGroup) throws -> Void
    ) throws {
        let streams = group.frames.map(\.stream)
        let single = streams.count % 2
        var parts = streams.prefix(single).map { [$0] }
        for first in stride(from: single, to: streams.count, by: 2) {
            parts.append([streams[first], streams[first + 1]])
        }
        let frames = parts.map { part -> VAEGroup.Frame in
            guard let shape = part[0]?.shape else { preconditionFailure("means need the stream") }
            let mean = session.tensors.tensor(.f32, shape)
            averageFold(part, factor: 1, into: mean, compute: session.compute)
            let target = session.target(shape[0], shape[1], shape[2], for: next, reusing: mean)
            finishFrame(mean, to: target, compute: session.compute)
            return target.frame
        }
        try emit(VAEGroup(frames: frames, isFirst: group.isFirst, isLast: group.isLast))
    }
}
