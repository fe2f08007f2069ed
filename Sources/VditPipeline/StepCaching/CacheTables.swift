import Foundation
import VditFiles

/// What is known of a model that a step cache decides by.
public struct CacheTable: Sendable, Codable, Equatable {
    /// Of the run that `ratios` were taken from, and its branches.
    public var steps: Int?
    public var streams: Int?
    /// `‖ρ_t‖ / ‖ρ_{t−1}‖` of a call's residual, mean over tokens, from the second step on; branches take turns,
    /// conditional first.
    public var ratios: [Double]?
    /// Of the polynomial that takes the signal's relative change to the output's: degree 4, highest power first.
    public var coefficients: [Double]?
    /// Whether the signal is the embedding's projection, not the embedding itself.
    public var isModulation: Bool?

    public init(
        steps: Int? = nil, streams: Int? = nil, ratios: [Double]? = nil, coefficients: [Double]? = nil,
        isModulation: Bool? = nil
    ) {
        (self.steps, self.streams, self.ratios) = (steps, streams, ratios)
        (self.coefficients, self.isModulation) = (coefficients, isModulation)
    }

    /// Whether the numbers fit each other.
    var isSound: Bool {
        if let ratios {
            guard let steps, let streams, (2...100_000).contains(steps), (1...2).contains(streams),
                ratios.count == streams * (steps - 1), ratios.allSatisfy({ $0.isFinite && $0 > 0 })
            else { return false }
        }
        return coefficients.map { $0.count == 5 && $0.allSatisfy(\.isFinite) } ?? (ratios != nil)
    }

    /// The ratios of a loop of another length, by branch: the nearest step's, halves to even. The first is 1.
    func ratios(steps: Int) -> [[Double]]? {
        guard let ratios, let streams else { return nil }
        return (0..<streams).map { stream in
            let own = [1] + stride(from: stream, to: ratios.count, by: streams).map { ratios[$0] }
            if own.count == steps { return own }
            return (0..<steps).map { step in
                let place = Double(step * (own.count - 1)) / Double(max(1, steps - 1))
                return own[Int(place.rounded(.toNearestOrEven))]
            }
        }
    }
}

/// Tables by the name of the model.
public struct CacheTables: Sendable, Equatable {
    private var tables: [String: CacheTable]

    public init(_ tables: [String: CacheTable]) { self.tables = tables }

    public subscript(model: String) -> CacheTable? { tables[model] }

    /// Names of those that have something.
    func names(_ has: (CacheTable) -> Bool) -> String {
        tables.filter { has($0.value) }.keys.sorted().joined(separator: ", ")
    }

    /// These, over which those of a file go.
    ///
    /// - Parameter path: JSON, by model what `CacheTable` has: what `vdit calibrate` writes, and MagCache's own tables.
    /// - Throws: `FileError`, `PipelineError.invalid` (65) for what is no table.
    public func with(file path: String) throws -> CacheTables {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let read = try decodeJSON([String: CacheTable].self, from: readSmallFile(path), path: path, decoder: decoder)
        if let (name, _) = read.filter({ !$0.value.isSound }).min(by: { $0.key < $1.key }) {
            throw PipelineError.invalid(
                "\(path): \(name)", found: "numbers that do not fit",
                expected: "ratios of streams × (steps − 1) numbers above 0, or 5 coefficients", kind: .badData)
        }
        return CacheTables(tables.merging(read) { $1 })
    }

    /// Writes a table where others may be read from.
    ///
    /// - Throws: `FileError` when it cannot be written.
    public static func write(_ table: CacheTable, of model: String, to path: String, existing: ExistingFile) throws {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        try AtomicFile.write(Array(try encoder.encode([model: table])) + [10], to: path, existing: existing)
    }
}
