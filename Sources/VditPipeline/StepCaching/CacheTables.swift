import Foundation
import Glibc
import VditAttention
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
    /// Frames, height and width of the video that was measured, where the table holds for that size alone.
    public var size: [Int]?
    /// Digest of the weights that were measured, where it holds for those alone: a name says little of a fine-tuned
    /// model.
    public var weights: String?

    public init(
        steps: Int? = nil, streams: Int? = nil, ratios: [Double]? = nil, coefficients: [Double]? = nil,
        isModulation: Bool? = nil, size: [Int]? = nil, weights: String? = nil
    ) {
        (self.steps, self.streams, self.ratios) = (steps, streams, ratios)
        (self.coefficients, self.isModulation, self.size, self.weights) = (coefficients, isModulation, size, weights)
    }

    /// Whether the numbers fit each other.
    var isSound: Bool {
        if let ratios {
            guard let steps, let streams, (2...100_000).contains(steps), (1...2).contains(streams),
                ratios.count == streams * (steps - 1), ratios.allSatisfy({ $0.isFinite && $0 > 0 })
            else { return false }
        }
        guard size.map({ $0.count == 3 && $0.allSatisfy { $0 > 0 } }) ?? true else { return false }
        return coefficients.map { $0.count == 5 && $0.allSatisfy(\.isFinite) } ?? (ratios != nil)
    }

    /// The polynomial of degree 4 that takes signals to changes with the least squared error, as `coefficients` has it;
    /// nil where the points do not decide it.
    ///
    /// - Parameter points: relative changes of a signal (x) and of the output (y).
    public static func fittedCoefficients(_ points: [(x: Double, y: Double)]) -> [Double]? {
        guard points.count > 5, let scale = points.map(\.x).max(), scale > 0 else { return nil }
        // Powers of x / scale, the highest first: better conditioned than those of x.
        var matrix = [[Double]](repeating: [Double](repeating: 0, count: 6), count: 5)
        for (x, y) in points.sorted(by: { ($0.x, $0.y) < ($1.x, $1.y) }) {
            let powers = (0..<5).map { pow(x / scale, Double(4 - $0)) }
            for row in 0..<5 {
                for column in 0..<5 { matrix[row][column] += powers[row] * powers[column] }
                matrix[row][5] += powers[row] * y
            }
        }
        guard let solution = solved(matrix) else { return nil }
        return solution.indices.map { solution[$0] / pow(scale, Double(4 - $0)) }
    }

    /// The ratios of a loop of another length, by branch: the nearest step's, halves to even. The first is 1.
    func ratios(steps: Int) -> [[Double]]? {
        guard let ratios, let streams else { return nil }
        return (0..<streams).map { stream in
            let own = [1] + stride(from: stream, to: ratios.count, by: streams).map { ratios[$0] }
            if own.count == steps { return own }
            return (0..<steps).map { own[nearestStep($0, of: steps, among: own.count)] }
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
    /// - Parameters:
    ///   - path: JSON, by model what `CacheTable` has: what `vdit calibrate` writes, and MagCache's own tables.
    ///   - model: what it must hold a table of.
    ///   - size: frames, height and width of the video.
    ///   - weights: digest of the model's.
    /// - Throws: `FileError`, `PipelineError.invalid` (65) for what is no table, or one of another model or size.
    public func with(file path: String, for model: String, size: [Int], weights: String) throws -> CacheTables {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let read = try decodeJSON([String: CacheTable].self, from: readSmallFile(path), path: path, decoder: decoder)
        if let (name, _) = read.filter({ !$0.value.isSound }).min(by: { $0.key < $1.key }) {
            throw PipelineError.invalid(
                "\(path): \(name)", found: "numbers that do not fit",
                expected: "ratios of streams × (steps − 1) numbers above 0, or 5 coefficients", kind: .badData)
        }
        guard let own = read[model] else {
            throw PipelineError.invalid(
                path, found: "a calibration of \(read.keys.sorted().joined(separator: ", "))",
                expected: "one of \(model), as 'vdit calibrate' makes it", kind: .badData)
        }
        try MeasuredOn(size: own.size, weights: own.weights)
            .check(fits: MeasuredOn(size: size, weights: weights), "\(path): \(model)")
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

/// Gauss's elimination with row pivots; nil where the equations do not decide.
func solved(_ equations: [[Double]]) -> [Double]? {
    var rows = equations
    for column in rows.indices {
        guard let pivot = (column..<rows.count).max(by: { abs(rows[$0][column]) < abs(rows[$1][column]) }),
            abs(rows[pivot][column]) > 1e-14
        else { return nil }
        rows.swapAt(column, pivot)
        for row in rows.indices where row != column {
            let factor = rows[row][column] / rows[column][column]
            for place in column..<rows[row].count { rows[row][place] -= factor * rows[column][place] }
        }
    }
    return rows.indices.map { rows[$0][rows.count] / rows[$0][$0] }
}
