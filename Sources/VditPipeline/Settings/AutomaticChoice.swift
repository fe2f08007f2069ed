import Foundation
import VditAttention
import VditFiles
import VditModels

/// What `--sparse auto` chose of what a comparison measured, and what it is expected to cost.
public struct AutomaticChoice: Sendable, Equatable {
    public let variant: ComparisonVariant
    /// Against dense, mean over the clips and of the worst, in dB; nil where every clip was dense's own.
    let psnr: Double?
    let lowestClip: Double?
    /// Denoising time of dense over its own where both were timed.
    let speedRatio: Double?
    /// Of all that the transformer computes.
    let flopsSaved: Double

    /// The name that stands in place of a method's.
    static let name = "auto"
    /// In dB against dense: differences that are seen only side by side.
    static let usualQuality = 40.0

    /// The fastest of those that reach the wanted quality; where a time is wanted instead, the best of those within it.
    ///
    /// - Parameters:
    ///   - values: settings, all decided but the method.
    ///   - known: files of jobs before.
    /// - Throws: `PipelineError.setting` where nothing measured will do; `PipelineError.invalid` (65) for measurements
    ///   of another model, size or number of steps.
    init(_ values: DecidedValues, model: ModelSpecification, known: KnownFiles? = nil) throws {
        guard let path = values.sparseResults else {
            throw PipelineError.setting(
                "sparse", found: Self.name, expected: "sparse_results beside it, the results.json of a 'vdit compare'")
        }
        let measured = try known?.measurements(path) ?? Measurements(path: path)
        try measured.check(path: path, model: model.defaults.name, values)
        let faster = measured.variants.filter { $0.gain > 1 }
        guard let best = faster.max(by: { $0.quality < $1.quality }),
            let fastest = faster.min(by: { ($0.seconds ?? .infinity) < ($1.seconds ?? .infinity) })
        else {
            throw PipelineError.invalid(
                path, found: "nothing that is faster than dense", expected: "one variant that is", kind: .badData)
        }
        if let within = values.sparseSeconds {
            let inTime = faster.filter { ($0.seconds ?? .infinity) <= within }
            guard let row = inTime.max(by: { $0.quality < $1.quality }) else {
                throw PipelineError.setting(
                    "sparse_seconds", found: "\(within)",
                    expected: fastest.seconds.map { "at least \($0), of \(fastest.label)" }
                        ?? "none: \(path) has no times")
            }
            self.init(row)
        } else {
            let wanted = values.sparseQuality ?? Self.usualQuality
            guard let row = faster.filter({ $0.quality >= wanted }).max(by: { $0.gain < $1.gain }) else {
                throw PipelineError.setting(
                    "sparse_quality", found: "\(wanted) dB",
                    expected: "at most \(Self.decibels(best.quality)), of \(best.label), or sparse dense")
            }
            self.init(row)
        }
    }

    private init(_ row: Measurements.Row) {
        (variant, psnr, lowestClip) = (row.variant, row.psnr, row.psnrLowestClip)
        (speedRatio, flopsSaved) = (row.speedRatio, row.flopsSaved)
    }

    /// For the log.
    var notice: String {
        let quality = psnr.map { "\(Self.decibels($0)) against dense (worst clip \(Self.decibels(lowestClip ?? $0)))" }
        let speed = speedRatio.map { "\(($0 * 100).rounded() / 100) × as fast" }
        return "sparse auto is \(variant.label): measured \(quality ?? "equal to dense"), "
            + "\(speed ?? "not timed"), \((flopsSaved * 1000).rounded() / 10) % of all work saved"
    }

    private static func decibels(_ value: Double) -> String { "\((value * 10).rounded() / 10) dB" }
}

/// Of a comparison's `results.json` what a choice is made by.
struct Measurements: Decodable {
    struct Row: Decodable {
        let variant: ComparisonVariant
        let label: String
        let psnr: Double?
        let psnrLowestClip: Double?
        let seconds: Double?
        let speedRatio: Double?
        let flopsSaved: Double

        var quality: Double { psnr ?? .infinity }
        /// How much faster than dense; by the work where nothing was timed.
        var gain: Double { speedRatio ?? 1 / max(1 - flopsSaved, .leastNormalMagnitude) }
    }

    let family: String
    let settings: [String: String]
    let variants: [Row]

    /// - Throws: `FileError`; `PipelineError.invalid` (65) for no such file.
    init(path: String) throws {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        self = try decodeJSON(Measurements.self, from: readSmallFile(path), path: path, decoder: decoder)
    }

    /// - Throws: `PipelineError.invalid` (65) for measurements of another model, size or number of steps.
    func check(path: String, model: String, _ values: DecidedValues) throws(PipelineError) {
        let has = settings.merging(["model": family]) { $1 }
        let wanted: KeyValuePairs<String, String> = [
            "model": model, "width": "\(values.width)", "height": "\(values.height)",
            "num_frames": "\(values.numFrames)", "steps": "\(values.steps)",
        ]
        for (name, value) in wanted where has[name] != value {
            throw PipelineError.invalid(
                path, found: "measurements of \(name) \(has[name] ?? "unknown")", expected: "of \(name) \(value)",
                kind: .badData)
        }
    }
}
