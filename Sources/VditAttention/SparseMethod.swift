import VditTensor

/// Decides which key blocks each query block attends to.
///
/// A method is a value: configuration and state together. A run keeps one copy per (layer, branch), so what
/// is learned at one site can never reach another.
public protocol SparseMethod: Sendable {
    static var name: String { get }

    /// What `plan` and `finish` have learned, by name. Saved in checkpoints; its bytes are reported.
    var learned: [String: Tensor] { get set }

    /// Whether `finish` changes the values. The kernel then writes them in fp32.
    var finishes: Bool { get }

    /// Builds what never changes during a run. A layout the method cannot serve fails here.
    mutating func prepare(for layout: TokenLayout) throws(AttentionError)

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
    public mutating func prepare(for layout: TokenLayout) throws(AttentionError) {}
    public mutating func finish(
        _ output: inout AttentionOutput, of call: AttentionCall,
        attend: (AttentionPlan) -> AttentionOutput
    ) throws(AttentionError) {}
}
