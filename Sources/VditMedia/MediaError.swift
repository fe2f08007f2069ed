import Glibc
import VditFiles
import VditTensor

/// What can go wrong in VditMedia.
public enum MediaError: Failure, Equatable {
    /// A value that cannot be used: what it is, what was found, what was expected.
    case invalid(String, found: String, expected: String, kind: FailureKind)
    /// A setting that cannot be what was asked, of what kind of file.
    case setting(String, what: String, found: String, expected: String)
    /// A path the operating system, or our rules for outputs, refuse.
    case inaccessible(path: String, reason: String, kind: FailureKind)
    /// A file whose content is not what its format or its own header promises.
    case malformed(path: String, found: String, expected: String)
    /// FFmpeg or libpng could not do its work on a file.
    case library(path: String, call: String, reason: String, kind: FailureKind)

    public var kind: FailureKind {
        switch self {
        case .invalid(_, _, _, let kind), .inaccessible(_, _, let kind), .library(_, _, _, let kind): kind
        case .setting: .usage
        case .malformed: .badData
        }
    }

    public var setting: String? { if case .setting(let name, _, _, _) = self { name } else { nil } }

    public var description: String {
        switch self {
        case .invalid(let what, let found, let expected, _):
            "\(what): found \(found), expected \(expected)"
        case .setting(_, let what, let found, let expected):
            "\(what): found \(found), expected \(expected)"
        case .inaccessible(let path, let reason, _):
            "\(path): \(reason)"
        case .malformed(let path, let found, let expected):
            "\(path): found \(found), expected \(expected)"
        case .library(let path, let call, let reason, _):
            "\(path): \(call): \(reason)"
        }
    }

    /// Runs file work of VditFiles, whose errors are ours too.
    static func files<R>(_ body: () throws(FileError) -> R) throws(MediaError) -> R {
        do throws(FileError) {
            return try body()
        } catch .inaccessible(let path, let reason, let kind) {
            throw .inaccessible(path: path, reason: reason, kind: kind)
        } catch {
            throw .invalid("file", found: error.description, expected: "none", kind: error.kind)
        }
    }

    /// A system call on a path failed with `code`; `missing` is what a path that is not there means.
    static func system(_ path: String, errno code: Int32, missing: FailureKind) -> MediaError {
        let kind: FailureKind =
            switch code {
            case EACCES, EPERM, EROFS: .permission
            case ENOENT, ENOTDIR, EISDIR, EEXIST, ELOOP, ENAMETOOLONG: missing
            case ENOMEM, EMFILE, ENFILE: .osError
            default: .ioError
            }
        return .inaccessible(path: path, reason: String(cString: strerror(code)), kind: kind)
    }
}
