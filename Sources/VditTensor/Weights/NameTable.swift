/// What other programs call a model's tensors, as rows of one table: their beginning of a name and ours.
///
/// A beginning is whole words between dots; one `*` stands for a number. The longest that fits a name counts, and what
/// follows it stays. A name that no row fits stays as it is.
public struct NameTable: Sendable {
    public let rows: [(theirs: String, ours: String)]
    private let byTheirs: [String: String]
    private let byOurs: [String: String]
    private let ignored: [String]

    /// - Parameters:
    ///   - rows: of those with one of ours, the first is what it is called on the way back.
    ///   - ignored: beginnings of names that may be there and are not used, where no row has them.
    public init(_ rows: [(theirs: String, ours: String)], ignored: [String] = []) {
        self.rows = rows
        byTheirs = Dictionary(rows.map { ($0.theirs, $0.ours) }, uniquingKeysWith: { first, _ in first })
        byOurs = Dictionary(rows.map { ($0.ours, $0.theirs) }, uniquingKeysWith: { first, _ in first })
        self.ignored = ignored
    }

    /// What we call a tensor.
    public func ours(_ theirs: String) -> String { Self.translated(theirs, byTheirs) }

    /// What its authors call a tensor.
    public func theirs(_ ours: String) -> String { Self.translated(ours, byOurs) }

    public func isIgnored(_ theirs: String) -> Bool { ignored.contains { theirs.hasPrefix($0) } }

    /// The rows with a number in the place of `*`.
    public func rows(numbered count: Int) -> [(String, String)] {
        rows.flatMap { row in
            row.theirs.contains("*")
                ? (0..<count).map { (row.theirs.replacing("*", with: "\($0)"), row.ours.replacing("*", with: "\($0)")) }
                : [(row.theirs, row.ours)]
        }
    }

    private static func translated(_ name: String, _ table: [String: String]) -> String {
        let words = name.split(separator: ".", omittingEmptySubsequences: false)
        for count in stride(from: words.count, to: 0, by: -1) {
            let rest = words[count...].map { "." + $0 }.joined()
            let beginning = words[..<count]
            if let found = table[beginning.joined(separator: ".")] { return found + rest }
            for place in beginning.indices where Int(beginning[place]) != nil {
                var starred = Array(beginning)
                starred[place] = "*"
                if let found = table[starred.joined(separator: ".")] {
                    return found.replacing("*", with: beginning[place]) + rest
                }
            }
        }
        return name
    }
}

/// Names and shapes of tensors: what tells of which model they are.
public struct TensorShapes: Sendable {
    private let shapes: [String: [Int]]

    public init(_ shapes: [String: [Int]]) { self.shapes = shapes }

    public var names: [String] { shapes.keys.sorted() }

    public subscript(_ name: String) -> [Int]? { shapes[name] }

    /// An extent of a tensor; nil where there is no such axis.
    public func extent(_ name: String, _ axis: Int) -> Int? {
        shapes[name].flatMap { $0.indices.contains(axis) ? $0[axis] : nil }
    }

    /// One more than the largest number that follows a beginning of names, such as `blocks.`.
    public func count(_ beginning: String) -> Int {
        shapes.keys.reduce(0) { most, name in
            guard name.hasPrefix(beginning) else { return most }
            return max(most, Int(name.dropFirst(beginning.count).prefix { $0 != "." }).map { $0 < 1024 ? $0 + 1 : 0 } ?? 0)
        }
    }

    /// The same tensors under our names. Of two that would have one name, one is left out: who opens them says so.
    public func named(by table: NameTable) -> TensorShapes {
        TensorShapes(Dictionary(shapes.map { (table.ours($0.key), $0.value) }, uniquingKeysWith: { first, _ in first }))
    }

    /// Those whose names begin so, without that.
    public func under(_ prefix: String) -> TensorShapes {
        TensorShapes(
            Dictionary(
                shapes.compactMap { $0.key.hasPrefix(prefix) ? (String($0.key.dropFirst(prefix.count)), $0.value) : nil },
                uniquingKeysWith: { first, _ in first }))
    }

    /// The first name that has a piece of text in it.
    public func name(with text: String) -> String? { shapes.keys.filter { $0.contains(text) }.min() }
}
