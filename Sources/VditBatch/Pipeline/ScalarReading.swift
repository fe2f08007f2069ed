import VditMedia
import Yams

// YAML 1.1 reads 016 as fourteen, 1:30 as ninety and `no` as false. Here a value is what it looks like, or an error.
extension PipelineDocument {
    private func plain(_ node: Node) -> String? {
        guard case .scalar(let scalar) = node else { return nil }
        switch scalar.style {
        case .plain, .any: return scalar.string
        default: return nil
        }
    }

    private func refuse(_ node: Node, _ what: String, _ expected: String, _ hint: String = "") {
        report(Self.mark(node), "\(what): found \(Self.describe(node)), expected \(expected)\(hint)")
    }

    func integer(_ node: Node, _ what: String, in range: ClosedRange<Int>) -> Int? {
        let expected = range.upperBound == .max
            ? "an integer of at least \(range.lowerBound)"
            : "an integer from \(range.lowerBound) to \(range.upperBound)"
        guard let text = plain(node) else {
            let isNumber = node.scalar.flatMap { Int($0.string) } != nil
            refuse(node, what, expected, isNumber ? "; remove the quotes" : "")
            return nil
        }
        let digits = text.hasPrefix("-") ? text.dropFirst() : text[...]
        let isDecimal = !digits.isEmpty && digits.allSatisfy { $0.isASCII && $0.isNumber }
        if isDecimal, digits.count > 1, digits.first == "0" {
            refuse(node, what, expected, "; a leading zero means octal to other readers of YAML")
        } else if isDecimal {
            if let value = Int(text), range.contains(value) { return value }
            refuse(node, what, expected)
        } else {
            refuse(node, what, expected, "; write it in decimal digits")
        }
        return nil
    }

    func number(_ node: Node, _ what: String) -> Double? {
        let expected = "a finite number"
        guard let text = plain(node) else {
            let isNumber = node.scalar.flatMap { Double($0.string) } != nil
            refuse(node, what, expected, isNumber ? "; remove the quotes" : "")
            return nil
        }
        let looksDecimal = text.allSatisfy { $0.isASCII && ($0.isNumber || "+-.eE".contains($0)) }
        let digits = text.drop { $0 == "-" || $0 == "+" }
        let isOctal = digits.count > 1 && digits.first == "0" && digits.dropFirst().first?.isNumber == true
        guard looksDecimal, !isOctal, let value = Double(text), value.isFinite else {
            let comma = text.contains(",") ? "; write a point, not a comma" : ""
            refuse(node, what, expected, comma)
            return nil
        }
        return value
    }

    func flag(_ node: Node, _ what: String) -> Bool? {
        switch plain(node) {
        case "true": return true
        case "false": return false
        case let text?:
            let isWord = ["yes", "no", "on", "off", "y", "n"].contains(text.lowercased())
            refuse(node, what, "true or false", isWord ? "; that word means different things to different readers" : "")
        case nil: refuse(node, what, "true or false")
        }
        return nil
    }

    /// Text that no reader of YAML would take for something else.
    func text(_ node: Node, _ what: String, _ expected: String = "text") -> String? {
        guard case .scalar(let scalar) = node else {
            refuse(node, what, expected)
            return nil
        }
        guard let text = plain(node) else {
            if scalar.string.isEmpty { refuse(node, what, expected) }
            return scalar.string.isEmpty ? nil : scalar.string
        }
        let lower = text.lowercased()
        if ["", "~", "null"].contains(lower) {
            refuse(node, what, expected)
        } else if ["true", "false", "yes", "no", "on", "off"].contains(lower) || Double(text) != nil {
            refuse(node, what, expected, "; put it in quotes if you mean the text")
        } else {
            return text
        }
        return nil
    }

    /// Any scalar as it was written: for values with a syntax of their own, such as 0:0.5 or 12:00:00.
    func written(_ node: Node, _ what: String, _ expected: String) -> String? {
        guard let text = node.scalar?.string, !text.isEmpty, text != "~", text != "null" else {
            refuse(node, what, expected)
            return nil
        }
        if let text = plain(node), text.count > 1, text.first == "0", text.allSatisfy({ $0.isASCII && $0.isNumber }) {
            refuse(node, what, expected, "; a leading zero means octal to other readers of YAML")
            return nil
        }
        return text
    }

    func choice(_ node: Node, _ what: String, among names: [String]) -> String? {
        let expected = "one of " + names.joined(separator: ", ")
        guard let text = node.scalar?.string, names.contains(text) else {
            let word = node.scalar?.string ?? ""
            refuse(node, what, expected, spellingHint(for: word, among: names))
            return nil
        }
        return text
    }
}
