import VditTensor

/// A list of stages with their weights packed, for clips of any size.
struct LoadedVAEStages: Sendable {
    private let stages: [any VAEStage]
    private let makers: [VAELayerMaker]
    /// Bytes of the packed weights.
    let weightBytes: Int

    /// - Throws: `TensorError` if a tensor is missing or oneDNN refuses a shape.
    init(
        _ stages: [any VAEStage], from source: any WeightSource, _ compute: ComputeContext
    ) throws(TensorError) {
        let loader = VAEWeightLoader(source: source, compute: compute)
        var makers: [VAELayerMaker] = []
        for stage in stages { makers.append(try stage.load(loader)) }
        self.stages = stages
        self.makers = makers
        weightBytes = loader.packedBytes
    }

    /// The stages at the start of a clip.
    ///
    /// - Parameter height: rows of the frames that come in.
    func start(height: Int, width: Int, session: VAESession) throws(TensorError) -> VAEChain {
        var clip = VAEClip(frames: 1, height: height, width: width)
        var layers: [any VAELayer] = []
        for (stage, make) in zip(stages, makers) {
            layers.append(try make(clip.height, clip.width, session))
            clip = stage.output(of: clip)
        }
        return VAEChain(layers, names: stages.map(\.name), session: session)
    }
}

/// The stages in a row. A group of frames runs through all of them before the next group starts, so that
/// only a few frames exist at a time.
struct VAEChain {
    private let layers: [any VAELayer]
    private let names: [String]
    private let session: VAESession
    private var demands: [VAEDemand] = []

    fileprivate init(_ layers: [any VAELayer], names: [String], session: VAESession) {
        self.layers = layers
        self.names = names
        self.session = session
        var next = VAEDemand(stream: .f32, operand: nil)
        for layer in layers.reversed() {
            if session.trace != nil { next.stream = .f32 }
            demands.append(next)
            var wanted = layer.demand(before: next)
            wanted.together = wanted.together || next.together
            next = wanted
        }
        demands.reverse()
    }

    /// Sends frames through; `deliver` gets the streams of whatever comes out.
    func push(
        _ frames: [Tensor], isFirst: Bool, isLast: Bool = false, deliver: ([Tensor]) throws -> Void
    ) throws {
        let wanted = layers[0].demand(before: demands[0])
        let group = VAEGroup(
            frames: frames.map { frame in
                VAEGroup.Frame(
                    stream: wanted.stream.map { frame.converted(to: $0) },
                    operand: wanted.operand.map { frame.converted(to: $0) })
            }, isFirst: isFirst, isLast: isLast)
        try flow(group, 0, deliver)
    }

    private func flow(_ group: VAEGroup, _ first: Int, _ deliver: ([Tensor]) throws -> Void) throws {
        var (group, index) = (group, first)
        // A group that stays together leaves a stage before the next one begins: its frames are not kept meanwhile.
        while index < layers.count, demands[index].together {
            var made: VAEGroup?
            try layers[index].step(group, for: demands[index], session) { part in
                session.trace?.append(part, names[index])
                made = made.map { $0.joined(with: part) } ?? part
            }
            guard let made else { return }
            (group, index) = (made, index + 1)
        }
        if index == layers.count { return try deliver(group.frames.compactMap(\.stream)) }
        try layers[index].step(group, for: demands[index], session) { group in
            session.trace?.append(group, names[index])
            try flow(group, index + 1, deliver)
        }
    }
}

extension VAEGroup {
    fileprivate func joined(with next: VAEGroup) -> VAEGroup {
        VAEGroup(
            frames: frames + next.frames, remembered: remembered + next.remembered, isFirst: isFirst,
            isLast: next.isLast)
    }
}

extension Trace {
    /// Records frames under `name/number`, numbered from 0; `[height, width, channels]`.
    fileprivate func append(_ group: VAEGroup, _ name: String) {
        for frame in group.frames {
            guard let values = frame.stream else { continue }
            record("\(name)/\(recorded.keys.count { $0.hasPrefix(name + "/") })", values)
        }
    }
}
