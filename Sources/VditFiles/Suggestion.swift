/// The candidate closest in spelling to `word`, if any is close enough to be a slip.
public func nearestName(to word: String, among candidates: [String]) -> String? {
    // A word from a file may be of any length; nothing that long is a slip.
    let word = String(word.lowercased().prefix(128))
    let scored = candidates.map { ($0, editDistance(word, String($0.lowercased().prefix(128)))) }
    guard let best = scored.min(by: { $0.1 < $1.1 }), best.1 <= max(2, best.0.count / 3) else {
        return nil
    }
    return best.0
}

/// The list of accepted names, with the nearest one pointed out.
public func expectedNames(_ candidates: [String], insteadOf word: String) -> String {
    let list = "one of " + candidates.joined(separator: ", ")
    return nearestName(to: word, among: candidates).map { "\(list) (did you mean \($0)?)" } ?? list
}
