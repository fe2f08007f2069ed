/// A JSON object of settings (`config.json`, `scheduler_config.json`, `model_index.json`), read with checks.
///
/// Every getter throws `FileError.malformed` naming the file, the key, what was found and what was
/// expected. JSON null counts as absent. `NaN` and the infinities, which Python writes bare, may stand at keys nobody
/// asks for.
public struct ConfigFile: Sendable {
    public let path: String
    private let values: [String: Value]

    private enum Value: Sendable {
        case string(String), number(Double), bool(Bool), list([Value]), null
        /// What no getter gives, as a person would call it: an object, a list in a list, a number that is none.
        case other(String)

        var found: String {
            switch self {
            case .string(let text): "\"\(text.prefix(60))\""
            case .number(let number): "\(number)"
            case .bool(let flag): "\(flag)"
            case .list(let list): "a list of \(list.count)"
            case .null: "null"
            case .other(let text): text
            }
        }
    }

    /// - Throws: `FileError.missing`, `.inaccessible`, or `.malformed` when the file is not a JSON object.
    public init(path: String) throws(FileError) {
        try self.init(InputFile.contents(of: path, limit: 4 << 20), name: path)
    }

    /// Reads an object from memory; `name` stands for the path in errors.
    package init(_ bytes: [UInt8], name path: String) throws(FileError) {
        self.path = path
        var scanner = try JSONScanner(bytes, path: path, part: "content", nonFinite: .passOver)
        var values: [String: Value] = [:]
        try scanner.beginObject()
        while let key = try scanner.nextKey() {
            if values[key] != nil {
                throw .malformed(path: path, field: key.shortened, found: "two entries", expected: "one")
            }
            let before = scanner.nonFiniteNumbers.count
            let value = try Self.value(&scanner)
            values[key] = scanner.nonFiniteNumbers.dropFirst(before).first.map(Value.other) ?? value
        }
        try scanner.end()
        self.values = values
    }

    private static func value(
        _ scanner: inout JSONScanner, isElement: Bool = false
    ) throws(FileError) -> Value {
        switch try scanner.value() {
        case .string(let text): return .string(text)
        case .number(let number): return .number(number)
        case .bool(let flag): return .bool(flag)
        case .null: return .null
        case .nonFinite(let text): return .other(text)
        case .object:
            try scanner.skipValue()
            return .other("an object")
        case .array where isElement:
            try scanner.skipValue()
            return .other("a list")
        case .array:
            var list: [Value] = []
            try scanner.beginArray()
            while try scanner.nextElement() { list.append(try value(&scanner, isElement: true)) }
            return .list(list)
        }
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
