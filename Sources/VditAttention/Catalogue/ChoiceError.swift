import VditFiles

/// What the things of a catalogue and their settings are called.
public struct CatalogueWords: Sendable, Equatable {
    /// `sparse method`, and `sparse option` of one.
    let thing, option: String
    /// Settings that choose it, its options, and how much of the work it leaves.
    let name, options, share: String

    package init(thing: String, option: String, name: String, options: String, share: String) {
        (self.thing, self.option) = (thing, option)
        (self.name, self.options, self.share) = (name, options, share)
    }
}

/// A choice from a catalogue that cannot be.
public struct ChoiceError: Failure, Equatable {
    public enum Fault: Sendable, Equatable {
        case unknownName(String, known: [String])
        /// An option nothing of the catalogue has, with the nearest one this has.
        case unknownOption(String, of: String, suggestion: String?)
        /// An option of others.
        case optionOfAnother(String, of: String, owners: [String])
        /// A value that does not parse or lies outside its range.
        case value(String, of: String, found: String, expected: String)
        /// Text that is no `name=value`.
        case noPair(found: String, expected: String)
        /// A share that is none.
        case share(Double, expected: String)
        /// Text that is no share.
        case noShare(String, of: String, expected: String)
        /// A share for what always does all of the work.
        case shareOfAll(Double, of: String)
        /// An option and the share that decides it.
        case shareAndOption(String, of: String)
    }

    let words: CatalogueWords
    public let fault: Fault

    init(_ words: CatalogueWords, _ fault: Fault) { (self.words, self.fault) = (words, fault) }

    public var kind: FailureKind { if case .shareOfAll = fault { .unsupported } else { .usage } }

    public var setting: String? {
        switch fault {
        case .unknownName: words.name
        case .unknownOption, .optionOfAnother, .value, .shareAndOption: words.options
        case .shareOfAll: words.share
        case .noPair, .share, .noShare: nil
        }
    }

    public var description: String {
        switch fault {
        case .unknownName(let name, let known):
            "\(words.thing) '\(name)': unknown, expected \(expectedNames(known, insteadOf: name))"
        case .unknownOption(let option, let name, let suggestion):
            "\(words.option) '\(option)': \(name) has none of that name"
                + (suggestion.map { "; did you mean '\($0)'?" } ?? "")
        case .optionOfAnother(let option, let name, let owners):
            "\(words.option) '\(option)': belongs to \(owners.joined(separator: ", ")), not to \(name)"
        case .value(let option, let name, let found, let expected):
            "\(words.option) '\(option)' of \(name): found '\(found)', expected \(expected)"
        case .noPair(let found, let expected): "\(words.option): found \(found), expected \(expected)"
        case .share(let share, let expected): "\(words.share): found \(share), expected \(expected)"
        case .noShare(let text, let name, let expected):
            "\(words.share) of \(name): found '\(text)', expected \(expected)"
        case .shareOfAll(let share, let name):
            "\(words.share) \(share): the nearest that \(name) reaches is 1.0"
        case .shareAndOption(let option, let name):
            "\(words.thing) \(name): \(words.share) and option '\(option)' decide the same thing, give one"
        }
    }
}
