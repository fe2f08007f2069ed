import Foundation

/// A JSON object of settings (`config.json`, `scheduler_config.json`, `model_index.json`), read with checks.
///
/// Every getter throws `FileError.malformed` naming the file, the key, what was found and what was
/// expected. JSON null counts as absent. `NaN` and the infinities, which Python writes bare, may stand at keys nobody
/// asks for.
public struct ConfigFile: Sendable {
    public let path: String
    private let values: [String: Value]

    private enum Value: Sendable {
        case string(String), number(Double), bool(Bool), list([Value]), object, null
        /// A value with a number in it that is none.
        case nonFinite(String)

        init(_ any: Any) {
            switch any {
            case let text as String: self = .string(text)
            case let number as NSNumber:
                // NSNumber keeps JSON booleans as the type code of a char.
                self = String(cString: number.objCType) == "c"
                    ? .bool(number.boolValue) : .number(number.doubleValue)
            case let list as [Any]: self = .list(list.map(Value.init))
            case is [String: Any]: self = .object
            default: self = .null
            }
        }

        var found: String {
            switch self {
            case .string(let text): "\"\(text.prefix(60))\""
            case .number(let number): "\(number)"
            case .bool(let flag): "\(flag)"
            case .list(let list): "a list of \(list.count)"
            case .object: "an object"
            case .null: "null"
            case .nonFinite(let text): text
            }
        }
    }

    /// - Throws: `FileError.missing`, `.inaccessible`, or `.malformed` when the file is not a JSON object.
    public init(path: String) throws(FileError) {
        self.path = path
        let bytes = try InputFile.contents(of: path, limit: 4 << 20)
        // Foundation keeps one of two equal keys silently, accepts trailing commas and says nothing of places.
        var scanner = try JSONScanner(bytes, path: path, part: "content", nonFinite: .passOver)
        var keys: Set<String> = []
        var nonFinite: [String: Value] = [:]
        try scanner.beginObject()
        while let key = try scanner.nextKey() {
            if !keys.insert(key).inserted {
                throw .malformed(path: path, field: key.shortened, found: "two entries", expected: "one")
            }
            let before = scanner.nonFiniteNumbers.count
            try scanner.skipValue()
            if let place = scanner.nonFiniteNumbers.dropFirst(before).first {
                nonFinite[key] = .nonFinite(String(decoding: bytes[place], as: UTF8.self))
            }
        }
        try scanner.end()
        // Foundation knows no such numbers.
        var text: [UInt8] = []
        var end = 0
        for place in scanner.nonFiniteNumbers {
            text += bytes[end..<place.lowerBound] + Array("null".utf8)
            end = place.upperBound
        }
        text += bytes[end...]
        guard let any = try? JSONSerialization.jsonObject(with: Data(text)), let object = any as? [String: Any]
        else { throw .malformed(path: path, field: "content", found: "no JSON object", expected: "one") }
        values = object.mapValues(Value.init).merging(nonFinite) { $1 }
    }

    private func present(_ key: String) -> Value? {
        guard let value = values[key] else { return nil }
        if case .null = value { return nil }
        return value
    }

    private func required<T>(_ key: String, _ value: T?, _ expected: String) throws(FileError) -> T {
        guard let value else {
            throw .malformed(path: path, field: key, found: "nothing", expected: expected)
        }
        return value
    }

    private func wrong(_ key: String, _ value: Value, _ expected: String) -> FileError {
        .malformed(path: path, field: key, found: value.found, expected: expected)
    }

    /// The keys that are present and not null.
    public var keys: Set<String> { Set(values.keys.filter { present($0) != nil }) }

    public func integerIfPresent(_ key: String, _ range: ClosedRange<Int>) throws(FileError) -> Int? {
        guard let value = present(key) else { return nil }
        let expected = "a whole number from \(range.lowerBound) to \(range.upperBound)"
        guard case .number(let number) = value, let whole = Int(exactly: number), range.contains(whole)
        else { throw wrong(key, value, expected) }
        return whole
    }

    public func integer(_ key: String, _ range: ClosedRange<Int>) throws(FileError) -> Int {
        try required(key, integerIfPresent(key, range), "a whole number from \(range.lowerBound) to \(range.upperBound)")
    }

    public func numberIfPresent(_ key: String, _ range: ClosedRange<Double>) throws(FileError) -> Double? {
        guard let value = present(key) else { return nil }
        guard case .number(let number) = value, range.contains(number) else {
            throw wrong(key, value, "a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    public func number(_ key: String, _ range: ClosedRange<Double>) throws(FileError) -> Double {
        try required(key, numberIfPresent(key, range), "a number from \(range.lowerBound) to \(range.upperBound)")
    }

    public func boolIfPresent(_ key: String) throws(FileError) -> Bool? {
        guard let value = present(key) else { return nil }
        guard case .bool(let flag) = value else { throw wrong(key, value, "true or false") }
        return flag
    }

    public func stringIfPresent(_ key: String) throws(FileError) -> String? {
        guard let value = present(key) else { return nil }
        guard case .string(let text) = value else { throw wrong(key, value, "a text") }
        return text
    }

    public func string(_ key: String, oneOf allowed: [String]) throws(FileError) -> String {
        let expected = allowed.map { "\"\($0)\"" }.joined(separator: " or ")
        let text = try required(key, stringIfPresent(key), expected)
        guard allowed.contains(text) else { throw wrong(key, .string(text), expected) }
        return text
    }

    public func numbersIfPresent(_ key: String) throws(FileError) -> [Double]? {
        guard let value = present(key) else { return nil }
        guard case .list(let list) = value else { throw wrong(key, value, "a list of numbers") }
        var numbers: [Double] = []
        for element in list {
            guard case .number(let number) = element else { throw wrong(key, element, "a list of numbers") }
            numbers.append(number)
        }
        return numbers
    }

    public func integers(
        _ key: String, count: Int, _ range: ClosedRange<Int>
    ) throws(FileError) -> [Int] {
        let expected = "\(count) whole numbers from \(range.lowerBound) to \(range.upperBound)"
        let numbers = try required(key, numbersIfPresent(key), expected)
        let whole = numbers.compactMap { Int(exactly: $0) }.filter(range.contains)
        guard numbers.count == count, whole.count == count else {
            throw .malformed(path: path, field: key, found: "\(numbers)", expected: expected)
        }
        return whole
    }

    public func boolsIfPresent(_ key: String) throws(FileError) -> [Bool]? {
        guard let value = present(key) else { return nil }
        guard case .list(let list) = value else { throw wrong(key, value, "a list of true and false") }
        var flags: [Bool] = []
        for element in list {
            guard case .bool(let flag) = element else { throw wrong(key, element, "a list of true and false") }
            flags.append(flag)
        }
        return flags
    }

    /// The strings of a list such as `["diffusers", "WanTransformer3DModel"]`; nulls are skipped.
    public func stringsIfPresent(_ key: String) throws(FileError) -> [String]? {
        guard let value = present(key) else { return nil }
        guard case .list(let list) = value else { throw wrong(key, value, "a list of texts") }
        var texts: [String] = []
        for element in list {
            if case .string(let text) = element { texts.append(text) }
        }
        return texts
    }
}
