/// What is done to a prompt before it is tokenized.
public enum PromptCleaning: Sendable {
    case none
    /// As the Wan pipelines do: `ftfy.fix_text`, HTML unescaped twice, runs of white space as one space.
    ///
    /// - Differs: text that was decoded wrongly once ("schÃ¶n") is not repaired.
    case wan

    public func applied(to prompt: String) -> String {
        switch self {
        case .none: prompt
        case .wan: Self.withSingleSpaces(HTMLText.unescaped(HTMLText.unescaped(TextRepair.applied(to: prompt))))
        }
    }

    /// Runs of white space as one space, none at the ends.
    private static func withSingleSpaces(_ text: String) -> String {
        text.unicodeScalars.split(whereSeparator: isSpace).map(String.init).joined(separator: " ")
    }

    /// White space as Python's `str.isspace` has it.
    private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        scalar.properties.isWhitespace || 0x1c...0x1f ~= scalar.value
    }
}
