/// Densities of a loop's first steps and of the first transformer blocks, where those are to have others than the rest:
/// what `DenseSchedule` is for calls that keep everything. By step index too.
public struct DensitySchedule: Sendable, Equatable {
    /// A density, and the step or layer it ends before.
    struct Part: Sendable, Equatable {
        let end: DenseSchedule.Steps
        /// In `0 < density <= 1`.
        let density: Double
    }

    /// In the order of their ends.
    private let steps: [Part]
    private let layers: [Part]

    /// As the options say.
    init(_ values: OptionSettings) { (steps, layers) = (values[Self.stepsOption], values[Self.layersOption]) }

    /// Each once.
    var densities: Set<Double> { Set((steps + layers).map(\.density)) }

    /// Nil where that of the method holds. Of a step and a layer that both have one, the greater.
    func density(step: Int, of count: Int, layer: Int) -> Double? {
        let parts = [steps.first { step < $0.end.count(of: count) }, layers.first { layer < $0.end.count(of: .max) }]
        return parts.compactMap { $0?.density }.max()
    }

    /// The first of the steps up to this one that have one density in a layer; 0 where only dense ones come before.
    func start(step: Int, of count: Int, layer: Int, dense: Int) -> Int {
        if steps.isEmpty { return 0 }
        let density = density(step: step, of: count, layer: layer)
        var start = step
        while start > dense, self.density(step: start - 1, of: count, layer: layer) == density { start -= 1 }
        return start > dense ? start : 0
    }

    private static let stepsOption = MethodOption<[Part]>(
        "density-steps", .densities(.steps, "steps", example: "25%:0.5+50%:0.3"), default: [],
        "densities up to some steps, instead of the rest's")
    private static let layersOption = MethodOption<[Part]>(
        "density-layers", .densities(.layers, "transformer blocks", example: "2:0.5+8:0.3"), default: [],
        "densities up to some transformer blocks; where a step has one too, the greater holds")

    static let options: [any AnyMethodOption] = [stepsOption, layersOption]
}

extension OptionKind where Value == DenseSchedule.Steps {
    /// A count of transformer blocks.
    fileprivate static var layers: Self {
        let count = OptionKind<Int>.integer(0...1000)
        return Self(range: count.range, parse: { count.parse($0).map { .count($0) } }, text: steps.text)
    }
}

extension OptionKind where Value == [DensitySchedule.Part] {
    /// Ends with densities, each end beyond the one before; all are counts, or all are parts.
    fileprivate static func densities(
        _ end: OptionKind<DenseSchedule.Steps>, _ things: String, example: String
    ) -> Self {
        let density = OptionKind<Double>.number(0...1)
        return Self(
            range: "none, or ends of \(things) in their order, each with a density above 0, such as \(example)",
            parse: { text in
                if text == "none" { return [] }
                var parts: [DensitySchedule.Part] = []
                for pair in text.split(separator: "+", omittingEmptySubsequences: false) {
                    let halves = pair.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
                    guard halves.count == 2, let end = end.parse(halves[0]), let density = density.parse(halves[1]),
                        density > 0, parts.last.map({ $0.end.precedes(end) }) ?? true
                    else { return nil }
                    parts.append(DensitySchedule.Part(end: end, density: density))
                }
                return parts
            },
            text: { parts in
                parts.isEmpty
                    ? "none" : parts.map { "\(end.text($0.end)):\(density.text($0.density))" }.joined(separator: "+")
            })
    }
}

extension DenseSchedule.Steps {
    /// Whether both are of one kind, and the other is more.
    fileprivate func precedes(_ other: Self) -> Bool {
        switch (self, other) {
        case (.count(let count), .count(let more)): count < more
        case (.fraction(let fraction), .fraction(let more)): fraction < more
        default: false
        }
    }
}
