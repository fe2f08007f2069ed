import VditFiles
import VditTensor

/// What can go wrong in VditAttention.
public enum AttentionError: Failure, Equatable {
    /// A value that cannot be used: what it is, what was found, what was expected.
    case invalid(String, found: String, expected: String, kind: FailureKind)
    /// A density the method's parameters cannot produce for this layout.
    case unreachableDensity(Double, method: String, reachable: ClosedRange<Double>)
    /// A layout or model the method cannot serve.
    case unsupported(method: String, found: String, expected: String)
    /// State from a checkpoint that does not fit this run.
    case state(String, found: String, expected: String)
    case tensor(TensorError)

    public var kind: FailureKind {
        switch self {
        case .invalid(_, _, _, let kind): kind
        case .unreachableDensity, .unsupported: .unsupported
        case .state: .badData
        case .tensor(let error): error.kind
        }
    }

    public var setting: String? {
        switch self {
        case .unsupported: "sparse"
        case .unreachableDensity: "density"
        case .invalid, .state, .tensor: nil
        }
    }

    public var description: String {
        switch self {
        case .invalid(let what, let found, let expected, _):
            "\(what): found \(found), expected \(expected)"
        case .unreachableDensity(let density, let method, let reachable)
        where reachable.lowerBound == reachable.upperBound:
            "density \(density): the nearest that \(method) reaches at this size with these options is "
                + "\(rounded(reachable.lowerBound))"
        case .unreachableDensity(let density, let method, let reachable):
            "density \(density): \(method) reaches \(rounded(reachable.lowerBound)) to "
                + "\(rounded(reachable.upperBound)) at this size with these options"
        case .unsupported(let method, let found, let expected):
            "sparse method \(method): found \(found), expected \(expected)"
        case .state(let name, let found, let expected):
            "attention state '\(name)': found \(found), expected \(expected)"
        case .tensor(let error): error.description
        }
    }

    private func rounded(_ value: Double) -> Double { (value * 10_000).rounded() / 10_000 }
}

/// Runs work that can fail below the attention.
func tensorWork<R>(_ body: () throws(TensorError) -> R) throws(AttentionError) -> R {
    do { return try body() } catch { throw .tensor(error) }
}
