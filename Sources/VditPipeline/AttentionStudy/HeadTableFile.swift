import Foundation
import VditAttention
import VditFiles
import VditMedia
import VditModels

/// What `vdit calibrate --sparse` writes: which pattern of a sparse method serves every head of a model, at every step.
public struct HeadTableFile: Sendable, Codable, Equatable {
    public var method: String
    /// Name of the model, and the digest of its weights, adapters with them.
    public var model: String
    public var weights: String
    /// Frames, height and width of the video.
    public var size: [Int]
    /// What the heads were judged by: names of prompts, and the loss as `PatternSearch` has it. Files of versions that
    /// had but one measure do not say which.
    public var prompts: [String]
    public var measure: PatternSearch.Measure?
    public var densityWeight: Double
    public var lossLimit: Double?
    public var density: Double?
    /// As `HeadTable` has them.
    public var patterns: [[String: String]]
    public var heads: [[[Int]]]

    /// - Throws: `FileError`; `PipelineError.invalid` (65) for what is no such file.
    public init(path: String) throws {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        self = try decodeJSON(Self.self, from: readSmallFile(path), path: path, decoder: decoder)
    }

    init(
        method: String, model: String, measured: MeasuredOn, prompts: [String], search: PatternSearch,
        heads: [[[Int]]]
    ) {
        (self.method, self.model, self.prompts) = (method, model, prompts)
        (size, weights) = (measured.size ?? [], measured.weights ?? "")
        (measure, density) = (search.measure, search.density)
        (densityWeight, lossLimit) = (search.densityWeight, search.lossLimit)
        (patterns, self.heads) = (search.candidates, heads)
    }

    /// Reads the table that a job names.
    ///
    /// - Returns: nil where it names none; with the digest of the file.
    /// - Throws: `FileError`; `PipelineError.invalid` (65) for what is no table, or one of another method, model, size
    ///   or weights; `PipelineError.setting` (64) for a run without a sparse method.
    static func table(
        of job: RenderJob, for method: MethodChoice, _ model: ModelDirectory, _ settings: RenderSettings
    ) throws -> (table: HeadTable, digest: String)? {
        guard let path = job.sparseTable else { return nil }
        return try blaming("sparse_table") {
            (try table(path, for: method, model, size: settings.videoSize), try Digest.sha256(file: path))
        }
    }

    private static func table(
        _ path: String, for method: MethodChoice, _ model: ModelDirectory, size: [Int]
    ) throws -> HeadTable {
        guard !method.isDense else {
            throw PipelineError.setting("sparse_table", found: path, expected: "none without a sparse method")
        }
        let file = try Self(path: path)
        for (found, own) in [(file.method, method.name), (file.model, model.specification.defaults.name)]
        where found != own {
            throw PipelineError.invalid(
                path, found: "a table of \(found)", expected: "one of \(own), as 'vdit calibrate --sparse' makes it",
                kind: .badData)
        }
        try MeasuredOn(size: file.size, weights: file.weights)
            .check(fits: MeasuredOn(size: size, weights: model.weightsDigest()), path)
        let transformer = model.specification.transformer
        guard let table = HeadTable(patterns: file.patterns, heads: file.heads), table.layers == transformer.layers,
            table.headCount == transformer.heads
        else {
            throw PipelineError.invalid(
                "\(path): heads", found: "numbers that do not fit",
                expected: "for every step \(transformer.layers) layers of \(transformer.heads) numbers from 0 to "
                    + "\(file.patterns.count)", kind: .badData)
        }
        for (place, pattern) in file.patterns.enumerated() {
            do {
                _ = try MethodChoice(method.name).with(pattern: pattern)
            } catch {
                throw PipelineError.invalid(
                    "\(path): pattern \(place + 1)", found: error.description,
                    expected: "options of \(method.name)", kind: .badData)
            }
        }
        return table
    }

    /// Writes it where `table` reads it.
    ///
    /// - Throws: `FileError` when it cannot be written.
    public func write(to path: String, existing: ExistingFile) throws {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys]
        try AtomicFile.write(Array(try encoder.encode(self)) + [10], to: path, existing: existing)
    }
}
