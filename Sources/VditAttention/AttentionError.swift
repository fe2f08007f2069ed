import VditTensor

/// What can go wrong in VditAttention.
public enum AttentionError: Failure, Equatable {
    /// A value that cannot be used: what it is, what was found, what was expected.
    case invalid(String, found: String, expected: String, kind: FailureKind)

    public var kind: FailureKind {
        switch self {
        case .invalid(_, _, _, let kind): kind
        }
    }

    public var description: String {
        switch self {
        case .invalid(let what, let found, let expected, _):
            "\(what): found \(found), expected \(expected)"
        }
    }
}
