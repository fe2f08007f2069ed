import VditAttention
import VditModels
import VditTensor

/// A transformer and the part of the loop it serves. Most models have one; Wan 2.2 A14B has two. Where the loop
/// changes sizes there is one for every size.
public struct Expert {
    /// Loads the transformer, or gives it where it is loaded.
    let model: () throws -> any VideoModel
    public let guidance: Guidance
    /// The steps it serves, of the loop's.
    public let steps: Range<Int>
    /// The self-attention of this model in this run, with all it learns.
    public let attention: AttentionContext
    /// Which of its calls are computed; all if nil.
    public let cache: CacheContext?

    /// - Parameter model: evaluated when the first of its steps begins, after the model before it was let go.
    public init(
        model: @autoclosure @escaping () throws -> any VideoModel, guidance: Guidance, steps: Range<Int> = 0..<Int.max,
        attention: AttentionContext, cache: CacheContext? = nil
    ) {
        self.model = model
        self.guidance = guidance
        self.steps = steps
        self.attention = attention
        self.cache = cache
    }

    /// All that a run of it learns. Putting an earlier value back undoes a step.
    fileprivate struct State {
        let attention: AttentionContext.State
        let cache: CacheContext.State?
    }

    fileprivate var state: State { State(attention: attention.state, cache: cache?.state) }

    fileprivate func undo(to state: State) {
        attention.state = state.attention
        if let kept = state.cache { cache?.state = kept }
    }
}

/// What one step computed, for previews and for laying a run beside another.
public struct StepResult: Sendable {
    public let step: Step
    /// The model's output with the prompt, and without it where guidance asked for that:
    /// `[channels, frames, height, width]` f32.
    public let conditional: Tensor
    public let unconditional: Tensor?
    /// The latents after the step.
    public let latents: Tensor
    /// The clean latents this step's output points to.
    public let estimate: Tensor
}

/// One video on its way from noise to latents that can be decoded.
///
/// Owns all that changes from step to step: latents, the scheduler's history, what sparse methods learned and
/// what they cost, what step caches keep.
/// `checkpoint` takes exactly that out and `restore` puts it back.
public struct Generation: ~Copyable {
    /// `[channels, frames, height, width]` f32, after `completed` steps.
    public private(set) var latents: Tensor
    public private(set) var completed = 0
    private var scheduler: any Scheduler
    private let experts: [Expert]
    private let conditional: Conditioning
    private let unconditional: Conditioning
    private let acceptsNonFinite: Bool
    private var picture: HeldPicture?
    private let channels: Tensor?
    /// The expert at work and its projected prompts; another expert's are dropped.
    private var serving: (expert: Int, model: any VideoModel)?
    private var prepared: [AttentionSite.Branch: any PreparedConditioning] = [:]

    /// What to do about NaN and infinities.
    public enum NonFinite: Sendable { case refuse, accept }

    /// - Parameters:
    ///   - experts: at least one; the last serves what no other does.
    ///   - noise: `[channels, frames, height, width]` f32, standard normal; what the scheduler makes its start of.
    ///   - picture: what the video begins and ends with.
    ///   - channels: what every call of the model takes behind the latents' channels, see `PictureChannels`.
    ///   - video: latents to begin from, in the noise's shape: they are mixed with as much of it as the first step has.
    /// - Throws: `PipelineError.notFinite` for noise that is not finite.
    public init(
        experts: [Expert], scheduler: any Scheduler, noise: Tensor, picture: HeldPicture? = nil,
        channels: Tensor? = nil, video: Tensor? = nil,
        conditional: Conditioning, unconditional: Conditioning, nonFinite: NonFinite = .refuse
    ) throws(PipelineError) {
        precondition(!experts.isEmpty && noise.rank == 4 && noise.dtype == .f32)
        self.experts = experts
        self.scheduler = scheduler
        self.conditional = conditional
        self.unconditional = unconditional
        self.picture = picture
        self.channels = channels
        acceptsNonFinite = nonFinite == .accept
        latents = video.map { scheduler.start(noise, from: $0) } ?? scheduler.start(noise)
        if !acceptsNonFinite, !noise.isFinite {
            throw .notFinite(
                tensor: "the initial latents", step: 0, steps: scheduler.steps.count, layer: nil)
        }
    }

    public var steps: [Step] { scheduler.steps }
    public var isFinished: Bool { completed == scheduler.steps.count }

    /// The part of the loop whose transformer the next step needs and that is not loaded; nil where it is.
    public var partToLoad: Int? {
        if isFinished { return nil }
        let step = scheduler.steps[completed]
        let needed = experts.firstIndex { $0.steps.contains(step.index) } ?? experts.count - 1
        return needed == serving?.expert ? nil : needed
    }

    /// Lets go of the transformer before, and loads the one that the next step needs.
    public mutating func load() throws {
        guard let part = partToLoad else { return }
        prepared = [:]
        serving = nil
        serving = (part, try experts[part].model())
    }

    /// Computes the next step, once its transformer is loaded. When it throws, the generation is as it was before the call.
    ///
    /// - Parameter beforeLayer: called before every layer; what it throws gives the step up.
    /// - Throws: `PipelineError.notFinite` naming step and layer, and what `beforeLayer`, the model and the sparse
    ///   method throw.
    public mutating func advance(beforeLayer: (() throws -> Void)? = nil) throws -> StepResult {
        precondition(!isFinished)
        let step = scheduler.steps[completed]
        try load()
        guard let serving else { preconditionFailure("a transformer was loaded") }
        let (expert, model) = (experts[serving.expert], serving.model)
        let state = expert.state
        do {
            let shown = picture?.shown(in: latents, at: step) ?? latents
            let withPrompt = try predict(expert, model, .conditional, step, shown, beforeLayer)
            var without: Tensor?
            var prediction = withPrompt
            if expert.guidance.applies(to: step) {
                let other = try predict(
                    expert, model, .unconditional, step, shown, conditional: withPrompt, beforeLayer)
                prediction = expert.guidance.combine(conditional: withPrompt, unconditional: other, at: step)
                without = other
            }
            let picture = picture
            func video(_ tensor: Tensor) -> Tensor { picture?.video(in: tensor) ?? tensor }
            let before = video(shown)
            prediction = video(prediction)
            var next = scheduler
            var after = next.advance(before, prediction: prediction, at: step)
            if let picture { after = picture.kept(in: after, from: before) }
            try check(after, "the latents", step)
            scheduler = next
            latents = after
            completed += 1
            return StepResult(
                step: step, conditional: video(withPrompt), unconditional: without.map(video), latents: after,
                estimate: scheduler.estimate(before, prediction: prediction, at: step))
        } catch {
            expert.undo(to: state)
            throw error
        }
    }

    private mutating func predict(
        _ expert: Expert, _ model: any VideoModel, _ branch: AttentionSite.Branch, _ step: Step, _ shown: Tensor,
        conditional other: Tensor? = nil, _ beforeLayer: (() throws -> Void)?
    ) throws -> Tensor {
        let conditioning: any PreparedConditioning
        if let ready = prepared[branch] {
            conditioning = ready
        } else {
            conditioning = try model.prepare(branch == .conditional ? conditional : unconditional)
            prepared[branch] = conditioning
        }
        var pass = ForwardPass(
            timesteps: picture?.timesteps(step) ?? [step.timestep], branch: branch, step: step.index, steps: step.count,
            attend: { try expert.attention.attend($0) })
        pass.trained = expert.attention.trained
        if let beforeLayer { pass.onLayer = { _ in try beforeLayer() } }
        let input = channels.map { shown.followed(by: $0) } ?? shown
        func run(_ prepare: (inout ForwardPass) -> Void) throws -> Tensor {
            var own = pass
            prepare(&own)
            return try model.predict(input, conditioning: conditioning, own)
        }
        let call = CacheCall(step: step.index, branch: branch)
        let output = try expert.cache?.predict(call, output: shown.shape, conditional: other, run: run)
            ?? run { _ in }
        if !acceptsNonFinite, !output.isFinite {
            // Once more, looking at every layer: the run is lost anyway, and the layer is worth knowing.
            pass.checksLayers = true
            do {
                _ = try model.predict(input, conditioning: conditioning, pass)
            } catch ModelError.nonFinite(let layer) {
                throw PipelineError.notFinite(
                    tensor: "the model's \(branch.rawValue) pass", step: step.index,
                    steps: step.count, layer: layer)
            }
            try check(output, "the model's \(branch.rawValue) output", step)
        }
        return output
    }

    private func check(_ tensor: Tensor, _ name: String, _ step: Step) throws(PipelineError) {
        if !acceptsNonFinite, !tensor.isFinite {
            throw .notFinite(tensor: name, step: step.index, steps: step.count, layer: nil)
        }
    }

    // MARK: Checkpoints

    /// All that must be kept to go on from here.
    ///
    /// - Parameters:
    ///   - identity: what a run must agree on to continue it; see `Checkpoint`.
    ///   - timing: of the steps so far.
    public func checkpoint(
        identity: [String: String], timing: RunRecord.Timing = RunRecord.Timing()
    ) -> Checkpoint {
        var learned: [String: Tensor] = [:]
        for (index, expert) in experts.enumerated() {
            for (name, tensor) in expert.attention.learnedState() {
                learned["\(index).\(name)"] = tensor
            }
        }
        var cached: [String: Tensor] = [:]
        var caches: [SavedCache] = []
        for (index, expert) in experts.enumerated() {
            guard let (tensors, counts) = expert.cache?.saved() else { continue }
            for (name, tensor) in tensors { cached["\(index).\(name)"] = tensor }
            caches.append(counts)
        }
        return Checkpoint(
            completed: completed, latents: latents, history: scheduler.history, learned: learned,
            cached: cached, caches: caches,
            statistics: experts.map(\.attention.statistics), timing: timing, identity: identity)
    }

    /// Goes on from a checkpoint of the same run, bit for bit.
    ///
    /// - Throws: `PipelineError.damagedCheckpoint` when its tensors do not fit this run.
    public mutating func restore(_ checkpoint: Checkpoint) throws {
        let extents = scheduler.extents(latents.shape, after: checkpoint.completed)
        guard checkpoint.latents.shape == extents, checkpoint.completed <= steps.count else {
            throw PipelineError.damagedCheckpoint(
                "checkpoint: latents: found \(checkpoint.latents.shape) after \(checkpoint.completed) steps, "
                    + "expected \(extents) after at most \(steps.count)")
        }
        try scheduler.restore(checkpoint.history, like: checkpoint.latents)
        try checkpoint.restore(experts.map(\.attention))
        try checkpoint.restore(experts.compactMap(\.cache))
        latents = checkpoint.latents
        completed = checkpoint.completed
    }
}
