/// Patterns of a method that a calibration chooses among for every head, and by what.
///
/// - Source: Sparse-vDiT, arXiv 2506.03065: `mean((O_i − O)²) + λ (1 − S_i)`, the head dense where all losses exceed ε.
///   With λ = 0 and without ε it is the search of Sliding Tile Attention, arXiv 2502.04507. With a density in place of
///   both, λ follows from what all heads of a step may keep together: ours.
public struct PatternSearch: Sendable, Equatable {
    /// What a pattern loses of a head's dense attention.
    public enum Measure: String, Sendable, CaseIterable, Codable {
        /// The mean squared error of its output.
        case error
        /// The softmax mass it does not see, mean over queries, in 0…1.
        case recall
    }

    /// Options of each pattern, as they are written, over those of the method it is a search for; `density` is one.
    public var candidates: [[String: String]]
    public var measure = Measure.error
    /// λ: what keeping all token pairs costs beside the loss of a head.
    public var densityWeight: Double
    /// ε: the loss that no pattern of a head may exceed; nil takes the best there is.
    public var lossLimit: Double?
    /// What the heads of a step keep of their token pairs, mean over all layers: heads that gain most by keeping more
    /// get it, dense ones among them. Weight and limit do not count then.
    public var density: Double?

    public init(_ candidates: [[String: String]], densityWeight: Double = 0, lossLimit: Double? = nil) {
        (self.candidates, self.densityWeight, self.lossLimit) = (candidates, densityWeight, lossLimit)
    }

    init(_ candidates: [[OptionSetting]], densityWeight: Double = 0, lossLimit: Double? = nil) {
        self.init(
            candidates.map { OptionSettings($0).texts }, densityWeight: densityWeight, lossLimit: lossLimit)
    }

    /// Densities to choose among where nobody published patterns: parts and multiples of the mean.
    public static func densities(around mean: Double) -> [[String: String]] {
        let ladder: [Double] = [0.25, 0.5, 0.75, 1, 1.5, 2, 3]
        let densities = ladder.map { ($0 * mean * 10_000).rounded() / 10_000 }
        return densities.filter { 0 < $0 && $0 < 1 }.map { [MethodCatalogue.densityKey: "\($0)"] }
    }

    /// What a pattern did to a head.
    public struct Trial: Sendable, Equatable {
        /// As `measure` has it.
        public var loss: Double
        /// Token pairs it kept, over all.
        public var density: Double

        public init(loss: Double, density: Double) { (self.loss, self.density) = (loss, density) }
    }

    /// For each head of a step the number of its pattern, as `HeadTable` has it.
    ///
    /// - Parameter heads: of each head, its trial of every pattern.
    public func choices(_ heads: [[Trial]]) -> [Int] {
        guard let density else { return heads.map { choice($0.map { $0.loss + densityWeight * $0.density }) } }
        return choices(heads, keeping: density * Double(heads.count))
    }

    /// The number of the pattern with the least loss, the first of equals; 0 where all exceed the limit.
    private func choice(_ losses: [Double]) -> Int {
        guard let least = losses.min(), let place = losses.firstIndex(of: least) else { return 0 }
        return lossLimit.map { least > $0 } ?? false ? 0 : place + 1
    }

    /// From the sparsest pattern of every head on, what gains most for what it keeps more, as far as the pairs go.
    private func choices(_ heads: [[Trial]], keeping pairs: Double) -> [Int] {
        struct Rise {
            let head, from, to: Int
            let cost, gain: Double
            var worth: Double { gain / cost }
        }
        var left = pairs
        var chosen: [Int] = []
        var rises: [Rise] = []
        for (head, trials) in heads.enumerated() {
            let trials = [Trial(loss: 0, density: 1)] + trials
            var place = 0
            for (other, trial) in trials.enumerated()
            where (trial.density, trial.loss) < (trials[place].density, trials[place].loss) { place = other }
            chosen.append(place)
            left -= trials[place].density
            while true {
                let here = trials[place]
                let further = trials.indices.map { to in
                    Rise(
                        head: head, from: place, to: to, cost: trials[to].density - here.density,
                        gain: here.loss - trials[to].loss)
                }.filter { $0.cost > 0 && $0.gain > 0 }
                guard let next = further.max(by: { $0.worth < $1.worth }) else { break }
                rises.append(next)
                place = next.to
            }
        }
        // Stable, so that the rises of a head keep their order.
        let order = rises.indices.sorted {
            rises[$0].worth == rises[$1].worth ? $0 < $1 : rises[$0].worth > rises[$1].worth
        }
        for rise in order.map({ rises[$0] }) where chosen[rise.head] == rise.from && rise.cost <= left {
            chosen[rise.head] = rise.to
            left -= rise.cost
        }
        return chosen
    }
}
