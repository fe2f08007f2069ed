import Foundation
import VditAttention
import VditFiles
import VditModels
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
            path.isEmpty ? "content" : path.map(\.stringValue).joined(separator: ".")
        }
        switch error {
        case .typeMismatch(let type, let context), .valueNotFound(let type, let context):
            throw .invalid(
                "\(path): \(field(context.codingPath))", found: "another type",
                expected: words(for: type), kind: .badData)
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
    } catch let error as ChoiceError {
        throw .invalid(path, found: "\(error)", expected: "what this version has", kind: .badData)
    } catch {
        throw .invalid(path, found: "no valid JSON", expected: "a JSON object", kind: .badData)
    }
}

/// What a value of a type is in JSON.
private func words(for type: Any.Type) -> String {
    switch type {
    case is String.Type: "a string"
    case is Bool.Type: "true or false"
    case is any BinaryInteger.Type: "a whole number"
    case is any BinaryFloatingPoint.Type: "a number"
    case is any RandomAccessCollection.Type: "a list"
    default: "an object"
    }
}

/// The content of a small text file.
///
/// - Throws: `FileError`, also for one of more than 16 MiB.
func readSmallFile(_ path: String) throws(FileError) -> Data { Data(try InputFile.contents(of: path, limit: 16 << 20)) }

/// A configuration file's bytes; keys are sorted.
func configurationJSON(_ object: [String: ConfigurationValue]) throws -> [UInt8] {
    let data = try JSONSerialization.data(
        withJSONObject: object.mapValues(\.any), options: [.prettyPrinted, .sortedKeys])
    return [UInt8](data)
}

extension ConfigurationValue {
    /// As `JSONSerialization` takes it.
    fileprivate var any: Any {
        switch self {
        case .text(let value): value
        case .integer(let value): value
        case .number(let value): value
        case .flag(let value): value
        case .list(let values): values.map(\.any)
        }
    }
}
