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
    /// A file does not hold the tensor asked for; some that it does hold.
    case absent(path: String, tensor: String, present: [String])
    /// A model's weights are not the ones its configuration describes.
    case weights(path: String, WeightProblems)
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
        case .malformed, .mismatch, .absent, .weights, .refused: .badData
        case .outOfMemory: .osError
        case .library: .internalError
        case .environment: .usage
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
        case .mismatch(let tensor, let found, let expected):
            "tensor \(tensor.shortened): found \(found), expected \(expected)"
        case .absent(let path, let tensor, let present):
            "\(path): no tensor \(tensor.shortened)"
                + (present.isEmpty ? "; it holds none" : "; it holds \(present.map(\.shortened).joined(separator: ", "))")
        case .weights(let path, let problems):
            "\(path): \(problems)"
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

extension String {
    /// A name from a file, short enough for a message.
    var shortened: String { utf8.count <= 160 ? self : String(unicodeScalars.prefix(120)) + "…" }

    /// With control characters, line ends and bidirectional overrides as escapes: what a file names itself
    /// can neither break a message nor drive a terminal.
    public var onOneLine: String {
        func isHarmful(_ scalar: UnicodeScalar) -> Bool {
            switch scalar.value {
            case ..<0x20, 0x7f..<0xa0, 0x2028...0x202e, 0x2066...0x2069: true
            default: false
            }
        }
        if !unicodeScalars.contains(where: isHarmful) { return self }
        return unicodeScalars.reduce(into: "") { text, scalar in
            switch scalar {
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case _ where isHarmful(scalar): text += "\\u{\(String(scalar.value, radix: 16))}"
            default: text.unicodeScalars.append(scalar)
            }
        }
    }
}
