/// How a component's weights differ from what its configuration describes.
public struct WeightProblems: Sendable, Equatable, CustomStringConvertible {
    public var missing: [String] = []
    public var unexpected: [String] = []
    /// Name, found and expected shape.
    public var misshapen: [String] = []
    /// Name and type.
    public var notFloatingPoint: [String] = []

    public init() {}

    public var isEmpty: Bool { self == WeightProblems() }

    /// One line; at most ten tensors of each kind are named.
    public var description: String {
        let kinds = [
            ("missing", missing), ("unexpected", unexpected), ("of the wrong shape", misshapen),
            ("not floating point", notFloatingPoint),
        ]
        return kinds.filter { !$0.1.isEmpty }.map { kind, tensors in
            let named = tensors.prefix(10).map(\.shortened).joined(separator: ", ")
            let rest = tensors.count > 10 ? " and \(tensors.count - 10) more" : ""
            return "\(tensors.count) \(tensors.count == 1 ? "tensor" : "tensors") \(kind): \(named)\(rest)"
        }.joined(separator: "; ")
    }
}
