/// Patterns of a method that a calibration chooses among for every head, and by what loss.
///
/// - Source: Sparse-vDiT, arXiv 2506.03065: `mean((O_i − O)²) + λ (1 − S_i)`, the head dense where all losses exceed ε.
///   With λ = 0 and without ε it is the search of Sliding Tile Attention, arXiv 2502.04507.
public struct PatternSearch: Sendable, Equatable {
    /// Options of each pattern, as they are written, over those of the method it is a search for.
    public var candidates: [[String: String]]
    /// λ: what keeping all token pairs costs beside the mean squared error of a head's output.
    public var densityWeight: Double
    /// ε: the loss that no pattern of a head may exceed; nil takes the best there is.
    public var lossLimit: Double?

    public init(_ candidates: [[String: String]], densityWeight: Double = 0, lossLimit: Double? = nil) {
        (self.candidates, self.densityWeight, self.lossLimit) = (candidates, densityWeight, lossLimit)
    }

    init(_ candidates: [[OptionSetting]], densityWeight: Double = 0, lossLimit: Double? = nil) {
        self.init(
            candidates.map { OptionSettings($0).texts }, densityWeight: densityWeight, lossLimit: lossLimit)
    }

    /// What a head's output costs that keeps a density.
    public func loss(meanSquaredError: Double, density: Double) -> Double { meanSquaredError + densityWeight * density }

    /// The number of the pattern with the least loss, as `HeadTable` has it, the first of equals; 0 where all exceed
    /// the limit.
    public func choice(_ losses: [Double]) -> Int {
        guard let least = losses.min(), let place = losses.firstIndex(of: least) else { return 0 }
        return lossLimit.map { least > $0 } ?? false ? 0 : place + 1
    }
}
