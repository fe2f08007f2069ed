import VditFiles
import VditTensor

/// What can go wrong in VditModels.
public enum ModelError: Failure, Equatable {
    /// A value that cannot be used: what it is, what was found, what was expected.
    case invalid(String, found: String, expected: String, kind: FailureKind)
    /// A setting that cannot be what was asked.
    case setting(String, found: String, expected: String)
    /// Something this version does not do, and what it does instead.
    case unsupported(String, found: String, expected: String)
    /// A configuration file of a class no family has.
    case unknownClass(path: String, found: String, known: [String])
    /// An adapter file that does not fit the model, or that is none.
    case adapter(path: String, AdapterProblems)
    /// A layer put out NaN or infinity; −1 is the patch embedding.
    case nonFinite(layer: Int)

    public var kind: FailureKind {
        switch self {
        case .invalid(_, _, _, let kind): kind
        case .setting: .usage
        case .unsupported, .unknownClass: .unsupported
        case .adapter(_, let problems): problems.isUnsupported ? .unsupported : .badData
        case .nonFinite: .internalError
        }
    }

    public var setting: String? { if case .setting(let name, _, _) = self { name } else { nil } }

    public var description: String {
        switch self {
        case .invalid(let what, let found, let expected, _):
            "\(what): found \(found), expected \(expected)"
        case .setting(let name, let found, let expected):
            "\(name): found \(found), expected \(expected)"
        case .unsupported(let what, let found, let expected):
            "\(what): \(found) is not supported; expected \(expected)"
        case .unknownClass(let path, let found, let known):
            "\(path): _class_name: \(found) is not supported; expected \(expectedNames(known, insteadOf: found))"
        case .adapter(let path, let problems):
            "\(path): \(problems)".onOneLine
        case .nonFinite(let layer):
            layer < 0
                ? "the patch embedding put out NaN or infinity" : "layer \(layer) put out NaN or infinity"
        }
    }
}
