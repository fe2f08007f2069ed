/// What can go wrong below the models: files, tensors, memory and the numeric libraries.
public enum TensorError: Failure, Equatable {
    /// A path that should exist does not.
    case missing(path: String)
    /// A path exists but cannot be read or written (`errno` text in `reason`).
    case inaccessible(path: String, reason: String, kind: FailureKind)
    /// A file's content is not what its format demands.
    case malformed(path: String, field: String, found: String, expected: String)
    /// A tensor is not what the caller needs.
    case mismatch(tensor: String, found: String, expected: String)
    /// A format that is recognised and refused, with what to do instead.
    case refused(path: String, found: String, advice: String)
    case outOfMemory(bytes: Int)
    /// A numeric library reported a failure that no input should cause.
    case library(name: String, call: String, status: Int)
    /// A value of the environment (`VDIT_ISA`, threads) that cannot be honoured.
    case environment(name: String, found: String, expected: String)

    public var kind: FailureKind {
        switch self {
        case .missing: .missingInput
        case .inaccessible(_, _, let kind): kind
        case .malformed, .mismatch, .refused: .badData
        case .outOfMemory: .osError
        case .library: .internalError
        case .environment: .usage
        }
    }

    public var description: String {
        switch self {
        case .missing(let path):
            "\(path): no such file or directory"
        case .inaccessible(let path, let reason, _):
            "\(path): \(reason)"
        case .malformed(let path, let field, let found, let expected):
            "\(path): \(field): found \(found), expected \(expected)"
        case .mismatch(let tensor, let found, let expected):
            "tensor \(tensor): found \(found), expected \(expected)"
        case .refused(let path, let found, let advice):
            "\(path): \(found); \(advice)"
        case .outOfMemory(let bytes):
            "out of memory: \(bytes) bytes could not be allocated"
        case .library(let name, let call, let status):
            "\(name): \(call) failed with status \(status)"
        case .environment(let name, let found, let expected):
            "\(name): found \(found), expected \(expected)"
        }
    }
}
