import VditFiles
import VditTensor

/// What can go wrong in VditPipeline.
public enum PipelineError: Failure, Equatable {
    /// A value that cannot be used: what it is, what was found, what was expected.
    case invalid(String, found: String, expected: String, kind: FailureKind)
    /// A setting that cannot be what was asked.
    case setting(String, found: String, expected: String)
    /// Something this version does not do, and what it does instead.
    case unsupported(String, found: String, expected: String)
    /// NaN or an infinity in the latents or a model's output: where it began.
    case notFinite(tensor: String, step: Int, steps: Int, layer: Int?)
    /// A file beside an output that is no checkpoint, or a damaged one.
    case damagedCheckpoint(String)
    /// A checkpoint that belongs to another run: the first field that differs.
    case otherRun(path: String, field: String, checkpoint: String, current: String)
    /// A run that would not fit into the memory there is.
    case tooLarge(needed: Int, available: Int, limitedBy: String)
    /// The caller asked to stop: after a step, or, where `steps` is 0, while decoding. The checkpoint, if
    /// one was written, can be resumed.
    case cancelled(step: Int, steps: Int, checkpoint: String?)

    public var kind: FailureKind {
        switch self {
        case .invalid(_, _, _, let kind): kind
        case .setting: .usage
        case .unsupported: .unsupported
        case .notFinite: .internalError
        case .damagedCheckpoint: .badData
        case .otherRun: .configuration
        case .tooLarge: .osError
        case .cancelled: .temporary
        }
    }

    public var setting: String? { if case .setting(let name, _, _) = self { name } else { nil } }

    /// Whether a run can begin anew where this is thrown.
    public var isAboutCheckpoint: Bool {
        switch self {
        case .damagedCheckpoint, .otherRun: true
        default: false
        }
    }

    public var description: String {
        switch self {
        case .invalid(let what, let found, let expected, _):
            return "\(what): found \(found), expected \(expected)"
        case .setting(let name, let found, let expected):
            return "\(name): found \(found), expected \(expected)"
        case .unsupported(let what, let found, let expected):
            return "\(what): \(found) is not supported; expected \(expected)"
        case .notFinite(let tensor, let step, let steps, let layer):
            let place = layer.map {
                $0 < 0 ? ", before the first transformer block" : ", first in transformer block \($0)"
            } ?? ""
            return "step \(step + 1) of \(steps): NaN or infinity in \(tensor)\(place)"
        case .damagedCheckpoint(let reason): return reason
        case .otherRun(let path, let field, let checkpoint, let current):
            return "\(path): \(field): the checkpoint was made with \(checkpoint), this run has \(current)"
        case .tooLarge(let needed, let available, let limitedBy):
            let (need, free) = Bytes.texts(needed, available)
            return "this run needs about \(need) of memory, \(free) are "
                + "available (\(limitedBy)); use a smaller size or fewer frames"
        case .cancelled(let step, let steps, let checkpoint):
            let saved = checkpoint.map { "; state saved in \($0)" } ?? ""
            let place = steps == 0 ? "while decoding" : "after step \(step) of \(steps)"
            return "stopped \(place)\(saved)"
        }
    }
}
