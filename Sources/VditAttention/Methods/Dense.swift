/// Keeps everything: the plan every other one is measured against.
public struct Dense: SparseMethod {
    public static let name = "dense"

    public init() {}

    public func planner(for layout: TokenLayout) -> any AttentionPlanner {
        LayoutPlanner(.dense(tokens: layout.tokens))
    }

    static let description = MethodDescription(
        name: name, summary: "every query attends to every key", paper: nil, options: []
    ) { _, _ in Dense() }
}
