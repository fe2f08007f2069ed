import VditFiles
import VditTensor

/// A place in a pipeline file. Line 0 is what was set beside the file.
public struct SourceMark: Sendable, Hashable, Comparable {
    public let line: Int
    public let column: Int

    public init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }

    public static func < (a: SourceMark, b: SourceMark) -> Bool {
        (a.line, a.column) < (b.line, b.column)
    }
}

/// One thing that is wrong in a pipeline file.
public struct PipelineProblem: Sendable, Hashable {
    public let mark: SourceMark
    public let text: String

    public init(_ mark: SourceMark, _ text: String) {
        self.mark = mark
        self.text = text
    }
}

/// What can go wrong in VditBatch.
public enum BatchError: Failure, Equatable {
    /// Everything that is wrong in a pipeline file, in the order of its lines.
    case pipeline(path: String, problems: [PipelineProblem], kind: FailureKind)
    /// A value that cannot be used: what it is, what was found, what was expected.
    case invalid(String, found: String, expected: String, kind: FailureKind)
    /// The run database, or what SQLite says about it.
    case database(path: String, reason: String, kind: FailureKind)
    /// No job of that name.
    case unknownJob(String, suggestion: String?)
    /// A command of the cluster failed, or (69) there is no cluster.
    case slurm(String, kind: FailureKind = .osError)

    public var kind: FailureKind {
        switch self {
        case .pipeline(_, _, let kind), .invalid(_, _, _, let kind), .database(_, _, let kind): kind
        case .unknownJob: .usage
        case .slurm(_, let kind): kind
        }
    }

    public var description: String {
        switch self {
        case .pipeline(let path, let problems, _):
            problems.map { problem in
                problem.mark.line == 0
                    ? "\(path): set: \(problem.text)"
                    : "\(path):\(problem.mark.line):\(problem.mark.column): \(problem.text)"
            }.joined(separator: "\n")
        case .invalid(let what, let found, let expected, _):
            "\(what): found \(found), expected \(expected)"
        case .database(let path, let reason, _):
            "\(path): \(reason)"
        case .unknownJob(let name, let suggestion):
            "no job named '\(name)' in this batch" + (suggestion.map { "; did you mean '\($0)'?" } ?? "")
        case .slurm(let reason, _):
            "Slurm: \(reason)"
        }
    }
}
