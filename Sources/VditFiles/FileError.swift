/// What can go wrong with a file.
public enum FileError: Failure, Equatable {
    /// A path that should exist does not.
    case missing(path: String)
    /// A path exists but cannot be read or written (`errno` text in `reason`).
    case inaccessible(path: String, reason: String, kind: FailureKind)
    /// A file's content is not what its format demands.
    case malformed(path: String, field: String, found: String, expected: String)
    /// A format that is recognised and refused, with what to do instead.
    case refused(path: String, found: String, advice: String)
    /// A sound file of a kind this version does not read.
    case unsupported(path: String, found: String, expected: String)

    /// An empty name, which would stand for the root folder once a slash follows.
    ///
    /// - Parameter what: the file's role or setting.
    package static func emptyPath(_ what: String) -> FileError {
        .inaccessible(path: what, reason: "the path is empty", kind: .usage)
    }

    public var kind: FailureKind {
        switch self {
        case .missing: .missingInput
        case .inaccessible(_, _, let kind): kind
        case .malformed, .refused: .badData
        case .unsupported: .unsupported
        }
    }

    public var description: String { text.onOneLine }

    private var text: String {
        switch self {
        case .missing(let path):
            "\(path): no such file or directory"
        case .inaccessible(let path, let reason, _):
            "\(path): \(reason)"
        case .malformed(let path, let field, let found, let expected):
            "\(path): \(field): found \(found), expected \(expected)"
        case .refused(let path, let found, let advice):
            "\(path): \(found); \(advice)"
        case .unsupported(let path, let found, let expected):
            "\(path): \(found) is not supported; expected \(expected)"
        }
    }
}
