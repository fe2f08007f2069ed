import Foundation
import VditFiles
import VditTensor

/// Decodes a JSON text of our own. Unknown keys are ignored.
///
/// - Throws: `PipelineError.invalid` (65) naming file and field.
func decodeJSON<Value: Decodable>(
    _ type: Value.Type, from data: Data, path: String, decoder: JSONDecoder = JSONDecoder()
) throws(PipelineError) -> Value {
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

/// Creates a folder and those above it where they do not exist.
///
/// - Throws: `PipelineError.invalid` (73) when it cannot be created or the path is no folder.
public func createDirectory(_ path: String) throws(PipelineError) {
    var isDirectory: ObjCBool = false
    if FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory), isDirectory.boolValue {
        return
    }
    do {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch {
        throw .invalid(
            path, found: "a folder that cannot be created", expected: "a writable place",
            kind: .cannotCreate)
    }
}

/// The content of a small text file.
///
/// - Throws: `FileError.missing`, or `PipelineError.invalid` when it is no plain file of at most 16 MiB.
func readSmallFile(_ path: String) throws -> Data {
    let attributes = try? FileManager.default.attributesOfItem(atPath: path)
    guard let attributes else { throw FileError.missing(path: path) }
    let size = attributes[.size] as? Int ?? 0
    guard attributes[.type] as? FileAttributeType == .typeRegular, size <= 16 << 20,
        let data = FileManager.default.contents(atPath: path)
    else {
        throw PipelineError.invalid(
            path, found: "something else", expected: "a readable plain file of at most 16 MiB",
            kind: .badData)
    }
    return data
}
