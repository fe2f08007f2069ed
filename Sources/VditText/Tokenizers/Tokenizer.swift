import VditFiles

/// Turns text into the ids an encoder was trained with.
public protocol Tokenizer: Sendable {
    /// What a sequence is filled up with.
    var paddingID: Int32 { get }
    /// What ends every sequence.
    var endID: Int32 { get }
    /// Ids are below this.
    var count: Int { get }

    /// Ids of a whole text, special tokens included: neither cut nor padded.
    ///
    /// - Throws: `FileError.malformed` when the text meets a defect of the tokenizer's file.
    func ids(_ text: String) throws(FileError) -> [Int32]

    /// Text for people that ids stand for, normalised as the tokenizer sees it.
    func text(of ids: ArraySlice<Int32>) -> String
}

/// A text as ids, at most as many as a model takes.
public struct TokenSequence: Sendable, Equatable {
    /// The real tokens, special ones included.
    public let ids: [Int32]
    /// What did not fit, as text; nil when everything did.
    public let lost: String?
}

extension Tokenizer {
    /// Ids of a text, cut to `length` as the references do: what is cut is the end of the text, not the token that
    /// ends the sequence.
    public func sequence(_ text: String, length: Int) throws(FileError) -> TokenSequence {
        precondition(length >= 2)
        let ids = try ids(text)
        if ids.count <= length { return TokenSequence(ids: ids, lost: nil) }
        let kept = Array(ids[..<(length - 1)]) + [endID]
        return TokenSequence(ids: kept, lost: self.text(of: ids[(length - 1)..<(ids.count - 1)]))
    }
}
