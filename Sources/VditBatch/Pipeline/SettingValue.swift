import VditFiles
import VditPipeline
import Yams

/// A setting's value and where it was written.
public struct SettingValue: Sendable {
    public enum Content: Sendable, Equatable {
        case text(String), integer(Int), number(Double), flag(Bool)
        case options([String: String])
    }

    public let content: Content
    public let mark: SourceMark

    public var text: String {
        switch content {
        case .text(let value): value
        case .integer(let value): "\(value)"
        case .number(let value): "\(value)"
        case .flag(let value): "\(value)"
        case .options(let values): values.written
        }
    }
    var integer: Int? { if case .integer(let value) = content { value } else { nil } }
    var flag: Bool? { if case .flag(let value) = content { value } else { nil } }
}

extension SettingValue {
    /// As a row of the table of settings takes it.
    var given: SettingContent { if case .options(let options) = content { .options(options) } else { .text(text) } }
}

/// Points at the name that was probably meant.
func spellingHint(for name: String, among known: [String]) -> String {
    nearestName(to: String(name.prefix(100)).replacing("-", with: "_"), among: known).map { "; did you mean '\($0)'?" } ?? ""
}

extension [String: SettingValue] {
    /// Takes stronger values; what they say another way is gone.
    mutating func override(by stronger: [String: SettingValue]) {
        self = filter { name, _ in !stronger.keys.contains { SettingTable.sayTheSame($0, name) } }
        merge(stronger) { $1 }
    }
}

extension PipelineDocument {
    /// The settings of one mapping. `size` becomes a width and a height.
    func settings(_ entries: [Entry], of what: String, in environment: [String: String]) -> [String: SettingValue] {
        var values: [String: SettingValue] = [:]
        for entry in entries {
            for (name, value) in setting(entry.key, entry.value, "\(what)\(entry.key)", environment) {
                if values[name] != nil {
                    report(entry.keyMark, "\(what)\(entry.key): the \(name) is given twice, by itself and as size")
                }
                if let other = values.keys.first(where: { $0 != name && SettingTable.sayTheSame($0, name) }) {
                    report(entry.keyMark, "\(what)\(name): \(other) says the same in another way; give one")
                }
                values[name] = value
            }
        }
        return values
    }

    /// One setting's value, checked for its type; empty when it is reported as unusable.
    func setting(
        _ name: String, _ node: Node, _ what: String, _ environment: [String: String]
    ) -> [String: SettingValue] {
        guard let setting = SettingTable.key(name) else { return [:] }
        func value(_ content: SettingValue.Content?) -> [String: SettingValue] {
            content.map { [name: SettingValue(content: $0, mark: Self.mark(node))] } ?? [:]
        }
        switch setting.kind {
        case .input, .output:
            return value(
                text(node, what, "a path").flatMap { path(of: $0, node, what, environment) }.map { .text($0) })
        case .integer(let range): return value(integer(node, what, in: range).map { .integer($0) })
        case .number: return value(number(node, what).map { .number($0) })
        case .flag: return value(flag(node, what).map { .flag($0) })
        case .choice(let names): return value(choice(node, what, among: names).map { .text($0) })
        case .written(let expected): return value(written(node, what, expected).map { .text($0) })
        case .size:
            let expected = "width x height, such as 832x480"
            guard let text = text(node, what, expected) else { return [:] }
            guard let size = FrameSize(written: text) else {
                report(Self.mark(node), "\(what): found '\(text)', expected \(expected)")
                return [:]
            }
            let mark = Self.mark(node)
            return [
                "width": SettingValue(content: .integer(size.width), mark: mark),
                "height": SettingValue(content: .integer(size.height), mark: mark),
            ]
        case .numbers: return value(numbers(node, what).map { .text($0) })
        case .adapters: return value(adapters(node, what, environment).map { .text($0) })
        case .options:
            var options: [String: String] = [:]
            for entry in entries(node, of: what) {
                if let text = written(entry.value, "\(what).\(entry.key)", "a value") {
                    options[entry.key.replacing("_", with: "-")] = text
                }
            }
            return value(.options(options))
        }
    }

    /// A sequence of numbers, or the text of one.
    private func numbers(_ node: Node, _ what: String) -> String? {
        guard let items = node.sequence else { return written(node, what, "numbers such as [1, 0.75, 0.5]") }
        let values = items.compactMap { number($0, what) }
        return values.count == items.count ? NumberList(values).written : nil
    }

    /// A file, or a sequence of files and of mappings `{file: , strength: }`.
    private func adapters(_ node: Node, _ what: String, _ environment: [String: String]) -> String? {
        var list = AdapterList([])
        for item in node.sequence.map(Array.init) ?? [node] {
            guard var choice = adapter(item, what),
                let path = path(of: choice.path, item, what, environment)
            else { return nil }
            choice.path = path
            list.choices.append(choice)
        }
        return list.written
    }

    private func adapter(_ node: Node, _ what: String) -> AdapterChoice? {
        guard node.mapping != nil else {
            return text(node, what, "a path, or {file: , strength: }").map { AdapterChoice(written: $0) }
        }
        var choice = AdapterChoice(path: "")
        for entry in entries(node, of: what) {
            switch entry.key {
            case "file": choice.path = text(entry.value, "\(what).file", "a path") ?? ""
            case "strength":
                guard let strength = number(entry.value, "\(what).strength") else { return nil }
                choice.strength = strength
            default: report(entry.keyMark, "\(what): unknown key '\(entry.key)', expected file, strength")
            }
        }
        if choice.path.isEmpty { report(Self.mark(node), "\(what).file: missing") }
        return choice.path.isEmpty ? nil : choice
    }

    /// Follows `${NAME}` and makes the path relative to the file's folder.
    func path(of text: String, _ node: Node, _ what: String, _ environment: [String: String]) -> String? {
        var rest = text[...]
        var expanded = ""
        while let start = rest.range(of: "${") {
            expanded += rest[..<start.lowerBound]
            rest = rest[start.upperBound...]
            guard let end = rest.firstIndex(of: "}") else {
                report(Self.mark(node), "\(what): found '${' without '}'")
                return nil
            }
            let name = String(rest[..<end])
            guard let value = environment[name] else {
                report(Self.mark(node), "\(what): the environment has no variable '\(name)'")
                return nil
            }
            expanded += value
            rest = rest[rest.index(after: end)...]
        }
        expanded += rest
        if expanded.isEmpty {
            report(Self.mark(node), "\(what): the path is empty")
            return nil
        }
        return FilePath.resolved(expanded, in: FilePath.folder(of: path))
    }
}
