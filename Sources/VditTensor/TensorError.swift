import VditFiles

/// What can go wrong with tensors: their files, their memory and the numeric libraries.
public enum TensorError: Failure, Equatable {
    /// A file that holds, or is to hold, tensors.
    case file(FileError)
    /// A tensor is not what the caller needs.
    case mismatch(tensor: String, found: String, expected: String)
    /// A file does not hold the tensor asked for; some that it does hold.
    case absent(path: String, tensor: String, present: [String])
    /// A model's weights are not the ones its configuration describes.
    case weights(path: String, WeightProblems)
    case outOfMemory(bytes: Int)
    /// A numeric library reported a failure that no input should cause.
    case library(name: String, call: String, status: Int)
    /// A value of the environment (`VDIT_ISA`, threads) that cannot be honoured.
    case environment(name: String, found: String, expected: String)

    public var kind: FailureKind {
        switch self {
        case .file(let error): error.kind
        case .mismatch, .absent, .weights: .badData
        case .outOfMemory: .osError
        case .library: .internalError
        case .environment: .usage
        }
    }

    public var description: String { text.onOneLine }

    private var text: String {
        switch self {
        case .file(let error):
            error.description
        case .mismatch(let tensor, let found, let expected):
            "tensor \(tensor.shortened): found \(found), expected \(expected)"
        case .absent(let path, let tensor, let present):
            "\(path): no tensor \(tensor.shortened)"
                + (present.isEmpty ? "; it holds none" : "; it holds \(present.map(\.shortened).joined(separator: ", "))")
        case .weights(let path, let problems):
            "\(path): \(problems)"
        case .outOfMemory(let bytes):
            "out of memory: \(bytes) bytes could not be allocated"
        case .library(let name, let call, let status):
            "\(name): \(call) failed with status \(status)"
        case .environment(let name, let found, let expected):
            "\(name): found \(found), expected \(expected)"
        }
    }
}

/// Runs work on files.
package func fileWork<R>(_ body: () throws(FileError) -> R) throws(TensorError) -> R {
    do { return try body() } catch { throw .file(error) }
}
