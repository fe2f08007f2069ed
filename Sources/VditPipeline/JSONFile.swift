import Foundation
import VditTensor

/// Decodes a small JSON file of ours or of a model directory. Unknown keys are ignored.
///
/// - Parameter dialect: `.python` also takes the `NaN` and `Infinity` that Python's `json` writes.
/// - Throws: `PipelineError.invalid` (65) naming file and field.
func decodeJSON<Value: Decodable>(
    _ type: Value.Type, from data: Data, path: String, dialect: JSONDialect = .strict
) throws(PipelineError) -> Value {
    let decoder = JSONDecoder()
    decoder.allowsJSON5 = dialect == .python
    do {
        return try decoder.decode(type, from: data)
    } catch let error as DecodingError {
        func field(_ path: [any CodingKey]) -> String {
            path.map(\.stringValue).joined(separator: ".")
        }
        switch error {
        case .typeMismatch(let type, let context), .valueNotFound(let type, let context):
            throw .invalid(
                "\(path): \(field(context.codingPath))", found: "another type",
                expected: "\(type)", kind: .badData)
        case .keyNotFound(let key, let context):
            throw .invalid(
                "\(path): \(field(context.codingPath + [key]))", found: "nothing",
                expected: "a value", kind: .badData)
        case .dataCorrupted(let context) where !context.codingPath.isEmpty:
            throw .invalid(
                "\(path): \(field(context.codingPath))", found: "an unusable value",
                expected: context.debugDescription, kind: .badData)
        default:
            throw .invalid(path, found: "no valid JSON", expected: "a JSON object", kind: .badData)
        }
    } catch {
        throw .invalid(path, found: "no valid JSON", expected: "a JSON object", kind: .badData)
    }
}

enum JSONDialect { case strict, python }

/// The content of a small text file.
///
/// - Throws: `PipelineError.invalid` when it is missing (66), unreadable, not a plain file, or larger than 16 MiB (65).
func readSmallFile(_ path: String, limit: Int = 16 << 20) throws(PipelineError) -> Data {
    var status = stat()
    guard stat(path, &status) == 0 else {
        let missing = errno == ENOENT || errno == ENOTDIR
        throw .invalid(
            path, found: String(cString: strerror(errno)), expected: "a readable file",
            kind: missing ? .missingInput : .permission)
    }
    guard status.st_mode & S_IFMT == S_IFREG, status.st_size <= limit else {
        throw .invalid(
            path, found: status.st_mode & S_IFMT == S_IFREG ? "\(status.st_size) bytes" : "no plain file",
            expected: "a plain file of at most \(limit) bytes", kind: .badData)
    }
    guard let data = FileManager.default.contents(atPath: path) else {
        throw .invalid(path, found: "an unreadable file", expected: "a readable one", kind: .permission)
    }
    return data
}
