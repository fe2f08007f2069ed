extension Sequence where Element: Equatable {
    /// Every element where it is first.
    package var uniqued: [Element] {
        reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    }
}
