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
    /// Name of the setting at fault, where one is; who knows where it was written can point there.
    var setting: String? { get }
}

extension Failure {
    public var setting: String? { nil }
}

/// What went wrong with the file that a setting names.
public struct SettingFailure: Failure {
    public let setting: String?
    public let cause: any Failure

    public init(_ setting: String, _ cause: any Failure) { (self.setting, self.cause) = (setting, cause) }

    public var kind: FailureKind { cause.kind }
    public var description: String { cause.description }
}

/// Does work on the file that a setting names; a failure that names no setting gets this one.
public func blaming<Result>(_ setting: String, _ work: () throws -> Result) throws -> Result {
    do {
        return try work()
    } catch let error as any Failure where error.setting == nil {
        throw SettingFailure(setting, error)
    }
}
