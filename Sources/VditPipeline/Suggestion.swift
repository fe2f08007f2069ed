/// The candidate closest in spelling to `word`, if any is close enough to be a slip.
public func nearestName(to word: String, among candidates: [String]) -> String? {
    let scored = candidates.map { ($0, editDistance(word.lowercased(), $0.lowercased())) }
    guard let best = scored.min(by: { $0.1 < $1.1 }), best.1 <= max(2, best.0.count / 3) else {
        return nil
    }
    return best.0
}

/// The list of accepted names, with the nearest one pointed out.
func expectedNames(_ candidates: [String], insteadOf word: String) -> String {
    let list = "one of " + candidates.joined(separator: ", ")
    return nearestName(to: word, among: candidates).map { "\(list) (did you mean \($0)?)" } ?? list
}

private func editDistance(_ a: String, _ b: String) -> Int {
    let a = Array(a.prefix(128)), b = Array(b.prefix(128))
    var row = Array(0...b.count)
    for (i, x) in a.enumerated() {
        var diagonal = row[0]
        row[0] = i + 1
        for (j, y) in b.enumerated() {
            let substitution = diagonal + (x == y ? 0 : 1)
            diagonal = row[j + 1]
            row[j + 1] = min(substitution, row[j] + 1, row[j + 1] + 1)
        }
    }
    return row[b.count]
}
