import VditTensor

/// Decides which key blocks each query block attends to.
///
/// A method is a value: configuration and state together. A run keeps one copy per (layer, branch), so what
/// is learned at one site can never reach another.
public protocol SparseMethod: Sendable {
    static var name: String { get }

    /// What `plan` and `finish` have learned, by name. Saved in checkpoints; its bytes are reported. Tensors are
    /// replaced, never written to once they are here: an interrupted step is undone by putting the old ones back.
    var learned: [String: Tensor] { get set }

    /// Whether `finish` changes the values. The kernel then writes them in fp32.
    var finishes: Bool { get }

    /// The plan of every call, where it depends on the layout alone; nil before `prepare` or otherwise.
    var layoutPlan: AttentionPlan? { get }

    /// Parameters that `prepare` found for a wanted density, by option name.
    var solved: [String: Double] { get }

    /// Token pairs one call of a step computes over all, where that is known before the run; nil otherwise.
    ///
    /// - Parameter first: the first step that is not dense by schedule.
    func predictedWork(step: Int, first: Int) -> Double?

    /// Bytes of state one site holds at most.
    func stateBytes(layout: TokenLayout, heads: Int, headDim: Int) -> Int

    /// Builds what never changes during a run. A layout the method cannot serve fails here.
    mutating func prepare(for layout: TokenLayout) throws(AttentionError)

    /// Sees a call of a step that the schedule keeps dense, and may learn from it.
    mutating func observe(_ call: AttentionCall) throws(AttentionError)

    /// Plans one call. Called once per site and step, in step order.
    mutating func plan(_ call: AttentionCall) throws(AttentionError) -> AttentionPlan

    /// Learns from the kernel's output, or corrects it. `attend` runs another plan.
    mutating func finish(
        _ output: inout AttentionOutput, of call: AttentionCall,
        attend: (AttentionPlan) -> AttentionOutput) throws(AttentionError)
}

extension SparseMethod {
    public var learned: [String: Tensor] {
        get { [:] }
        set {}
    }
    public var finishes: Bool { false }
    public var layoutPlan: AttentionPlan? { nil }
    public var solved: [String: Double] { [:] }
    public func predictedWork(step: Int, first: Int) -> Double? {
        layoutPlan.map { plan in plan.density(tokens: Int(plan.heads[0].queryOffsets.last ?? 1)) }
    }
    public func stateBytes(layout: TokenLayout, heads: Int, headDim: Int) -> Int { 0 }
    public mutating func prepare(for layout: TokenLayout) throws(AttentionError) {}
    public mutating func observe(_ call: AttentionCall) throws(AttentionError) {}
    public mutating func finish(
        _ output: inout AttentionOutput, of call: AttentionCall,
        attend: (AttentionPlan) -> AttentionOutput
    ) throws(AttentionError) {}

    /// Bytes of state a run holds at most, over all its sites.
    public func predictedStateBytes(
        layout: TokenLayout, heads: Int, headDim: Int, layers: Int, branches: Int
    ) -> Int {
        stateBytes(layout: layout, heads: heads, headDim: headDim) * layers * branches
    }
}
