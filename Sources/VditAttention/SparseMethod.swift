import VditTensor

/// A sparse method with its parameters, before any layout is known.
public protocol SparseMethod: Sendable {
    static var name: String { get }

    /// Names of what its planners learn, as checkpoints have them.
    var learns: [String] { get }

    /// Whether guidance branches learn together: what the first call of a step learns, the other goes by.
    var sharesBranches: Bool { get }

    /// Bytes of state one site holds at most.
    func stateBytes(layout: TokenLayout, heads: Int, headDim: Int) -> Int

    /// What its calls must bring of checkpoints that were trained with it; nil where any will do.
    var trained: TrainedAttention? { get }

    /// Memory that one call takes beside its operands and what is learned.
    func workingBytes(layout: TokenLayout, headDim: Int) -> Int

    /// Builds what never changes during a run. A layout the method cannot serve fails here.
    func planner(for layout: TokenLayout) throws(AttentionError) -> any AttentionPlanner
}

extension SparseMethod {
    public var learns: [String] { [] }
    public var sharesBranches: Bool { false }
    public var trained: TrainedAttention? { nil }
    public func stateBytes(layout: TokenLayout, heads: Int, headDim: Int) -> Int { 0 }
    public func workingBytes(layout: TokenLayout, headDim: Int) -> Int { 0 }

    /// The branch whose state the calls of a branch go by and add to.
    public func learningBranch(of branch: AttentionSite.Branch) -> AttentionSite.Branch {
        sharesBranches ? .conditional : branch
    }
}

/// What a method learned at one site.
///
/// Tensors are replaced, never written to once they are here, so a copy of the state stays what it is.
public struct MethodState: Sendable {
    /// By name. Saved in checkpoints.
    public var tensors: [String: Tensor]

    public init(_ tensors: [String: Tensor] = [:]) { self.tensors = tensors }

    public subscript(_ name: String) -> Tensor? {
        get { tensors[name] }
        set { tensors[name] = newValue }
    }

    /// - Throws: `AttentionError.state` for a tensor of another type or shape, as a checkpoint of another run has it.
    static func check(_ tensor: Tensor, _ name: String, _ type: DType, _ shape: [Int]) throws(AttentionError) {
        if tensor.dtype == type && tensor.shape == shape { return }
        throw .state(
            name, found: "\(tensor.dtype.rawValue) \(tensor.shape)", expected: "\(type.rawValue) \(shape)")
    }

    /// The last element of a tensor of numbers; nil where there is none.
    func last(_ name: String) -> Float? { self[name].flatMap { $0.dtype == .f32 ? $0.floats().last : nil } }

    var byteCount: Int { tensors.values.reduce(0) { $0 + $1.byteCount } }
}

/// Decides which key blocks each query block attends to, in one layout.
///
/// A planner never changes. What it learns is the state of a site, a value the run keeps and hands in: what is learned
/// at one (layer, branch) can never reach another, unless the method shares branches, and a step is undone by putting
/// the old value back.
public protocol AttentionPlanner: Sendable {
    /// Whether the values change after the kernel, in `finish` or before it. The kernel then writes them in fp32.
    var finishes: Bool { get }

    /// The plan of every call, where it depends on the layout alone.
    var layoutPlan: AttentionPlan? { get }

    /// Parameters found for a wanted density, by option name.
    var solved: [String: Double] { get }

    /// Token pairs one call of a step computes over all, where that is known before the run; nil otherwise.
    ///
    /// - Parameter first: the first step that is not dense by schedule.
    func predictedWork(step: Int, first: Int) -> Double?

    /// The same of the other branch's call of the step, where branches learn together.
    func predictedWorkOfOther(step: Int, first: Int) -> Double?

    /// Whether what is measured serves calls of this planner's density alone.
    var measuresForOneDensity: Bool { get }

    /// The step of the last measurement there is.
    func lastMeasured(_ state: MethodState) -> Float?

    /// Whether a call is computed in full to measure anew what later ones go by.
    func isRefresh(_ call: AttentionCall, _ state: MethodState) -> Bool

    /// Sees a call of a step that the schedule keeps dense and what came of it, and may learn from both.
    func observe(
        _ call: AttentionCall, _ output: AttentionOutput, _ state: inout MethodState) throws(AttentionError)

    /// Plans one call. Called once per site and step, in step order.
    func plan(_ call: AttentionCall, _ state: inout MethodState) throws(AttentionError) -> AttentionPlan

    /// Learns from the kernel's output by a plan, or corrects it. `attend` runs another plan.
    func finish(
        _ output: inout AttentionOutput, of call: AttentionCall, by plan: AttentionPlan, _ state: inout MethodState,
        attend: (AttentionPlan) -> AttentionOutput) throws(AttentionError)
}

extension AttentionPlanner {
    public var finishes: Bool { false }
    public var layoutPlan: AttentionPlan? { nil }
    public var solved: [String: Double] { [:] }
    public func predictedWork(step: Int, first: Int) -> Double? {
        layoutPlan.map { plan in plan.density(tokens: Int(plan.heads[0].queryOffsets.last ?? 1)) }
    }
    public func predictedWorkOfOther(step: Int, first: Int) -> Double? { predictedWork(step: step, first: first) }
    public var measuresForOneDensity: Bool { false }
    public func lastMeasured(_ state: MethodState) -> Float? { nil }
    public func isRefresh(_ call: AttentionCall, _ state: MethodState) -> Bool { false }
    public func observe(
        _ call: AttentionCall, _ output: AttentionOutput, _ state: inout MethodState
    ) throws(AttentionError) {}
    public func finish(
        _ output: inout AttentionOutput, of call: AttentionCall, by plan: AttentionPlan, _ state: inout MethodState,
        attend: (AttentionPlan) -> AttentionOutput
    ) throws(AttentionError) {}
}

/// Gives every call the plan of its layout.
struct LayoutPlanner: AttentionPlanner {
    private let fixed: AttentionPlan
    let solved: [String: Double]

    init(_ plan: AttentionPlan, solved: [String: Double] = [:]) {
        fixed = plan
        self.solved = solved
    }

    var layoutPlan: AttentionPlan? { fixed }

    func plan(_ call: AttentionCall, _ state: inout MethodState) -> AttentionPlan { fixed }
}
