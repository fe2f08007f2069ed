/// The sysexits category of a failure: what a caller can do about it, and the process's exit status.
public enum FailureKind: Int32, Sendable {
    case usage = 64
    case badData = 65
    case missingInput = 66
    case unsupported = 69
    case internalError = 70
    case osError = 71
    case cannotCreate = 73
    case ioError = 74
    case temporary = 75
    case permission = 77
    case configuration = 78
}

/// An error that can be shown to a person: one line naming the file or flag, the field, what was found
/// and what was expected.
public protocol Failure: Error, CustomStringConvertible {
    var kind: FailureKind { get }
}
