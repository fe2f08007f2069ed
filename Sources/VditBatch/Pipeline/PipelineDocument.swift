import Foundation
import VditFiles
import VditTensor
import Yams

/// The text of a pipeline file as a tree of nodes that know their lines, and the problems found in it.
///
/// Reading never stops at the first problem: what cannot be used is reported and left out.
final class PipelineDocument {
    let path: String
    private(set) var problems: [PipelineProblem] = []
    private var visited = 0
    private var isTooLarge = false

    /// Aliases let a small file describe an exponentially large tree; this is what we are ready to walk.
    static let mostNodes = 100_000
    static let largestFile = 1 << 20

    init(path: String) { self.path = path }

    func report(_ mark: SourceMark, _ text: String) {
        let problem = PipelineProblem(mark, text)
        if !problems.contains(problem) { problems.append(problem) }
    }

    /// - Throws: everything reported so far, in the order of the lines.
    func throwProblems() throws(BatchError) {
        if problems.isEmpty { return }
        let sorted = problems.enumerated().sorted { ($0.element.mark, $0.offset) < ($1.element.mark, $1.offset) }
        throw .pipeline(path: path, problems: sorted.map(\.element), kind: .configuration)
    }

    // MARK: Text

    /// The bytes of a file as text: UTF-8, or UTF-16 with its mark.
    static func text(path: String) throws -> String {
        func refuse(_ found: String, _ expected: String, _ kind: FailureKind) -> BatchError {
            .invalid(path, found: found, expected: expected, kind: kind)
        }
        let bytes = try InputFile.contents(of: path, limit: largestFile)
        let isUTF16 = bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF])
        guard var text = String(data: Data(bytes), encoding: isUTF16 ? .utf16 : .utf8) else {
            throw refuse("bytes that are no text", "YAML in UTF-8", .badData)
        }
        if text.unicodeScalars.first == "\u{FEFF}" { text.unicodeScalars.removeFirst() }
        if text.utf8.contains(0) { throw refuse("a NUL character", "YAML in UTF-8", .badData) }
        return text
    }

    /// The root of the only document in `text`.
    ///
    /// - Throws: `BatchError.pipeline`, 65 for what is no YAML, 78 for YAML that is no pipeline.
    func compose(_ text: String) throws(BatchError) -> Node {
        try refuseAliasedKeys(text)
        func fail(_ mark: Mark?, _ text: String, _ kind: FailureKind) -> BatchError {
            .pipeline(
                path: path, problems: [PipelineProblem(SourceMark(line: mark?.line ?? 1, column: mark?.column ?? 1), text)],
                kind: kind)
        }
        do {
            if let root = try Parser(yaml: text).singleRoot(), root.scalar?.string.isEmpty != true { return root }
            throw fail(nil, "the file is empty; expected a pipeline with 'version: 1'", .configuration)
        } catch let error as BatchError {
            throw error
        } catch YamlError.scanner(_, let problem, let mark, _) {
            let hint = problem.contains("cannot start any token") ? " (a tab? YAML indents with spaces)" : ""
            throw fail(mark, "not YAML: \(problem)\(hint)", .badData)
        } catch YamlError.parser(_, let problem, let mark, _) {
            throw fail(mark, "not YAML: \(problem)", .badData)
        } catch YamlError.composer(_, let problem, let mark, _) where problem.contains("another document") {
            throw fail(mark, "a second document begins here; a pipeline file is one document", .configuration)
        } catch YamlError.composer(_, let problem, let mark, _) {
            throw fail(mark, "not YAML: \(problem) (an anchor must come before its alias and cannot hold itself)", .badData)
        } catch YamlError.duplicatedKeysInMapping(let duplicates, let context) {
            throw fail(
                context.mark, "given twice: \(duplicates.sorted().joined(separator: ", "))", .configuration)
        } catch {
            let first = "\(error)".split(separator: "\n").first.map(String.init) ?? "unreadable"
            throw fail(nil, "not YAML: \(first)", .badData)
        }
    }

    /// Keys are compared before a walk could count them; a key made of aliases may be exponentially large.
    private func refuseAliasedKeys(_ text: String) throws(BatchError) {
        guard text.contains("&"), text.contains("*") else { return }
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let bare = line.drop { $0 == " " || $0 == "-" }
            let isComplex = bare == "?" || bare.hasPrefix("? ") || bare.hasPrefix("*") && bare.contains(" :")
                || line.contains("]:") || line.contains("] :") || line.contains("}:") || line.contains("} :")
            if isComplex {
                throw .pipeline(
                    path: path,
                    problems: [PipelineProblem(SourceMark(line: index + 1, column: 1), "keys must be plain names")],
                    kind: .configuration)
            }
        }
    }

    // MARK: Overrides

    /// Puts `a.b=value` into the tree; the value is YAML, list positions are numbers or job names.
    ///
    /// - Throws: `BatchError.invalid` (64) for an override without a name or whose place does not exist.
    func applying(_ override: String, to root: Node) throws(BatchError) -> Node {
        func refuse(_ found: String, _ expected: String) -> BatchError {
            .invalid("set \(override)", found: found, expected: expected, kind: .usage)
        }
        guard let equals = override.firstIndex(of: "="), equals != override.startIndex else {
            throw refuse("no name and value", "name.name=value")
        }
        let names = override[..<equals].split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        let text = String(override[override.index(after: equals)...])
        guard let value = try? Parser(yaml: text).singleRoot() else {
            throw refuse("'\(text)'", "a YAML value")
        }
        func put(_ names: ArraySlice<String>, _ node: Node?) throws(BatchError) -> Node {
            guard let name = names.first else { return withoutMarks(value) }
            if name.isEmpty { throw refuse("an empty name", "name.name=value") }
            if case .sequence(var items)? = node {
                let named = items.indices.first { index in
                    if case .mapping(let item) = items[index] { return item["name"]?.scalar?.string == name }
                    return false
                }
                guard let index = named ?? Int(name), items.indices.contains(index) else {
                    throw refuse("'\(name)'", "a position from 0 to \(items.count - 1), or a job's name")
                }
                items[index] = try put(names.dropFirst(), items[index])
                return .sequence(items)
            }
            var pairs: [(Node, Node)] = []
            if case .mapping(let mapping)? = node { pairs = mapping.map { ($0.key, $0.value) } }
            let index = pairs.firstIndex { $0.0.scalar?.string == name }
            let child = try put(names.dropFirst(), index.map { pairs[$0].1 })
            let key = Node.scalar(.init(name))
            if let index { pairs[index] = (key, child) } else { pairs.append((key, child)) }
            return .mapping(.init(pairs, .implicit, .any, node?.mapping?.mark))
        }
        return try put(names[...], root)
    }

    private func withoutMarks(_ node: Node) -> Node {
        switch node {
        case .scalar(let scalar): .scalar(.init(scalar.string, scalar.tag, scalar.style, nil))
        case .sequence(let items): .sequence(.init(items.map(withoutMarks)))
        case .mapping(let pairs): .mapping(.init(pairs.map { (withoutMarks($0.key), withoutMarks($0.value)) }))
        case .alias: node
        }
    }

    // MARK: Walking

    struct Entry {
        let key: String
        let keyMark: SourceMark
        let value: Node
    }

    static func mark(_ node: Node) -> SourceMark {
        node.mark.map { SourceMark(line: $0.line, column: $0.column) } ?? SourceMark(line: 0, column: 0)
    }

    /// Counts a node; false when the file asks for more than we are ready to walk.
    private func visit(_ node: Node) -> Bool {
        visited += 1
        if visited > Self.mostNodes, !isTooLarge {
            isTooLarge = true
            report(Self.mark(node), "more than \(Self.mostNodes) values once its aliases are followed")
        }
        return !isTooLarge
    }

    /// The pairs of a mapping, merge keys followed, unknown keys reported with the nearest known one.
    ///
    /// - Parameter known: nil where any name is allowed.
    func entries(_ node: Node, of what: String, known: [String]? = nil) -> [Entry] {
        guard visit(node) else { return [] }
        guard case .mapping(let mapping) = node else {
            report(Self.mark(node), "\(what): found \(Self.describe(node)), expected a mapping of names to values")
            return []
        }
        var found: [Entry] = []
        var merged: [Entry] = []
        for (key, value) in mapping {
            guard visit(key) else { return [] }
            guard let name = key.scalar?.string else {
                report(Self.mark(key), "\(what): found \(Self.describe(key)) as a key, expected a name")
                continue
            }
            if name == "<<" {
                let sources = value.sequence.map(Array.init) ?? [value]
                for source in sources { merged += entries(source, of: what, known: known) }
                continue
            }
            if let known, !known.contains(name) {
                let hint = spellingHint(for: name, among: known)
                report(Self.mark(key), "\(what): unknown key '\(name)'\(hint)")
                continue
            }
            found.append(Entry(key: name, keyMark: Self.mark(key), value: value))
        }
        for entry in merged where !found.contains(where: { $0.key == entry.key }) { found.append(entry) }
        return found
    }

    /// The values of a list; anything else is reported.
    func items(_ node: Node, of what: String) -> [Node] {
        guard visit(node) else { return [] }
        guard case .sequence(let sequence) = node else {
            report(Self.mark(node), "\(what): found \(Self.describe(node)), expected a list")
            return []
        }
        return sequence.prefix(Self.mostNodes).filter(visit)
    }

    /// A value in words, for "found …".
    static func describe(_ node: Node) -> String {
        switch node {
        case .mapping: return "a mapping"
        case .sequence: return "a list"
        case .alias: return "an alias"
        case .scalar(let scalar):
            let text = scalar.string.count > 60 ? scalar.string.prefix(57) + "…" : scalar.string[...]
            switch scalar.style {
            case .singleQuoted, .doubleQuoted, .literal, .folded: return "the text \"\(text)\""
            default: return ["", "~", "null", "Null", "NULL"].contains(scalar.string) ? "nothing" : "'\(text)'"
            }
        }
    }
}
