import VditTensor

/// One or two consecutive frames on their way through the stages.
struct WanVAEGroup {
    struct Frame {
        /// `[height, width, channels]` f32, where the next stage asked for it.
        var stream: Tensor?
        /// The same, prepared for the next convolution, where it asked for that.
        var operand: Tensor?
    }

    /// A frame kept for a shortcut, and which of the frames made of it this one is.
    struct Remembered {
        var stream: Tensor
        var part: Int
    }

    var frames: [Frame]
    var remembered: [Remembered] = []
    /// Whether this is the clip's first frame, which time is neither split nor merged for.
    var isFirst: Bool
}

/// The forms a stage wants its input frames in.
struct WanVAEDemand {
    var stream: Bool
    var operand: DType?
    var preparation: FrameTarget.Preparation = .plain
}

/// What the stages of one encode or decode share.
final class WanVAESession {
    let compute: ComputeContext
    let tensors = TensorPool()
    let trace: Trace?

    init(compute: ComputeContext, trace: Trace?) {
        self.compute = compute
        self.trace = trace
    }

    /// New tensors for one frame in the forms that are wanted. `reusing`: a stream that may be overwritten.
    func target(
        _ height: Int, _ width: Int, _ channels: Int, for demand: WanVAEDemand, reusing: Tensor? = nil
    ) -> FrameTarget {
        let shape = [height, width, channels]
        return FrameTarget(
            stream: demand.stream ? reusing ?? tensors.tensor(.f32, shape) : nil,
            operand: demand.operand.map { tensors.tensor($0, shape) }, preparation: demand.preparation)
    }
}

extension FrameTarget {
    var frame: WanVAEGroup.Frame { WanVAEGroup.Frame(stream: stream, operand: operand) }
}

/// A stage at work: its weights fitted to one frame size, and the frames it must remember.
protocol WanVAELayer: AnyObject {
    /// What it wants of its input, given what the stage after it wants.
    func demand(before next: WanVAEDemand) -> WanVAEDemand

    /// Takes the next frames and emits none, one or two groups.
    func step(
        _ group: WanVAEGroup, for next: WanVAEDemand, _ session: WanVAESession,
        emit: (WanVAEGroup) throws -> Void
    ) throws
}

/// The stages in a row. A group of frames runs through all of them before the next group starts, so that
/// only a few frames exist at a time.
struct WanVAEChain {
    private var layers: [any WanVAELayer] = []
    private var demands: [WanVAEDemand] = []
    private let names: [String]
    private let session: WanVAESession

    /// - Parameter height: rows of the frames that come in.
    init(
        _ stages: [WanVAEStage], _ weights: [WanVAEWeights], height: Int, width: Int, session: WanVAESession
    ) throws(TensorError) {
        self.session = session
        names = stages.map(\.name)
        var (height, width) = (height, width)
        for (stage, weights) in zip(stages, weights) {
            layers.append(try stage.start(weights, height: height, width: width, session.compute))
            switch stage {
            case .enlarge: (height, width) = (height * 2, width * 2)
            case .shrink: (height, width) = (height / 2, width / 2)
            default: break
            }
        }
        var next = WanVAEDemand(stream: true, operand: nil)
        for layer in layers.reversed() {
            if session.trace != nil { next.stream = true }
            demands.append(next)
            next = layer.demand(before: next)
        }
        demands.reverse()
    }

    /// Sends a frame through; `deliver` gets the streams of whatever comes out.
    func push(_ frames: [Tensor], isFirst: Bool, deliver: ([Tensor]) throws -> Void) throws {
        let wanted = layers[0].demand(before: demands[0])
        let group = WanVAEGroup(
            frames: frames.map { frame in
                WanVAEGroup.Frame(
                    stream: wanted.stream ? frame : nil, operand: wanted.operand.map { frame.converted(to: $0) })
            }, isFirst: isFirst)
        try flow(group, 0, deliver)
    }

    private func flow(_ group: WanVAEGroup, _ index: Int, _ deliver: ([Tensor]) throws -> Void) throws {
        if index == layers.count { return try deliver(group.frames.compactMap(\.stream)) }
        try layers[index].step(group, for: demands[index], session) { group in
            session.trace?.append(group, names[index])
            try flow(group, index + 1, deliver)
        }
    }
}

extension Trace {
    /// Records frames under `name/number`, numbered from 0; `[height, width, channels]`.
    fileprivate func append(_ group: WanVAEGroup, _ name: String) {
        for frame in group.frames {
            guard let values = frame.stream else { continue }
            record("\(name)/\(recorded.keys.count { $0.hasPrefix(name + "/") })", values)
        }
    }
}

extension WanVAEConfig {
    /// Multiply-adds of a decode, each counted as 2: convolutions and the attention within frames.
    ///
    /// - Parameters:
    ///   - height: pixels, as is `width`.
    ///   - frames: latent frames.
    public func decodeFLOPs(height: Int, width: Int, frames: Int) -> Double {
        var area = Double(height / spatialCompression) * Double(width / spatialCompression)
        var frames = Double(frames)
        var total = 0.0
        for stage in decoderStages {
            let perPixel: Double
            switch stage {
            case .causal(_, let from, let to, let kernel, _):
                perPixel = Double(from * to * kernel * kernel * kernel)
            case .residual(_, let from, let to):
                perPixel = Double(27 * (from + to) * to + (from == to ? 0 : from * to))
            case .attention(_, let channels):
                perPixel = Double(4 * channels * channels) + 2 * area * Double(channels)
            case .splitTime(_, let channels):
                total += 2 * (frames - 1) * area * Double(6 * channels * channels)
                frames = 2 * frames - 1
                continue
            case .enlarge(_, let from, let to, _):
                area *= 4
                perPixel = Double(9 * from * to)
            case .mergeTime, .shrink, .remember, .average, .pair: continue
            }
            total += 2 * frames * area * perPixel
        }
        return total
    }

    /// What a decode of frames of this many pixels holds at most: every causal convolution's past two
    /// frames, and at every resolution two frames on their way through the widest stage.
    public func decodeBytes(height: Int, width: Int, operandBytes: Int) -> Int {
        var (rows, columns) = (height / spatialCompression, width / spatialCompression)
        var past = 0
        var passing: [Int: Int] = [:]
        for stage in decoderStages {
            let area = rows * columns
            var live = 0
            switch stage {
            case .causal(_, let from, let to, let kernel, _):
                if kernel > 1 { past += 2 * area * from * operandBytes }
                live = 2 * area * (from * operandBytes + to * (4 + operandBytes))
            case .residual(_, let from, let to):
                past += 2 * area * (from + to) * operandBytes
                live = 2 * area * (from * (4 + operandBytes) + to * (4 + 2 * operandBytes))
            case .attention(_, let channels):
                live = area * channels * (4 + 10 * operandBytes)
            case .splitTime(_, let channels):
                past += 2 * area * channels * operandBytes
                live = 4 * area * channels * operandBytes
            case .enlarge(_, _, let to, _):
                (rows, columns) = (rows * 2, columns * 2)
                live = 8 * area * to * (4 + operandBytes)
            case .mergeTime, .shrink, .remember, .average, .pair: break
            }
            passing[rows, default: 0] = max(passing[rows] ?? 0, live)
        }
        let video = 2 * 3 * height * width * 4
        return past + passing.values.reduce(0, +) + video
    }
}
