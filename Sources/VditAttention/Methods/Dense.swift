/// Keeps everything: the plan every other one is measured against.
public struct Dense: SparseMethod {
    public static let name = "dense"
    public private(set) var layoutPlan: AttentionPlan?

    public init() {}

    public mutating func prepare(for layout: TokenLayout) {
        layoutPlan = .dense(tokens: layout.tokens)
    }

    public mutating func plan(_ call: AttentionCall) -> AttentionPlan {
        layoutPlan ?? .dense(tokens: call.tokens)
    }

    static let description = MethodDescription(
        name: name, summary: "every query attends to every key", paper: nil, options: []
    ) { _, _ in Dense() }
}
