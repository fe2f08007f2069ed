import Foundation
import VditFiles
import VditMedia
import VditPipeline
import VditTensor

/// What `vdit compare REF CAND …` found: how far each candidate is from the reference.
public struct FileComparison: Sendable, Codable, Equatable {
    /// What to do about clips of different length.
    public enum Length: Sendable {
        case refuse
        /// Compare as many frames as the shorter has.
        case cutToShorter
    }

    public struct Candidate: Sendable, Codable, Equatable {
        public var path: String
        public var quality: Quality
        /// Where both are stored in the same 8-bit Y'CbCr format.
        public var planes: PlaneQuality?
        /// What makes the numbers mean less than they seem to.
        public var warnings: [String]
        /// Of the latents after each step, where they were compared too.
        public var latents: [LatentDistance]?
    }

    /// The batch job that compared, and what it compared.
    public struct Job: Sendable, Codable, Equatable {
        public var name: String
        public var fingerprint: String
        /// Of the reference and of every candidate.
        public var sha256: [String]
    }

    public var schema = 1
    public var vditVersion: String
    /// How each measure is taken.
    public var conventions: [String: String]
    public var reference: String
    public var width: Int
    public var height: Int
    public var candidates: [Candidate]
    public var job: Job?

    /// Compares files.
    ///
    /// - Parameters:
    ///   - threads: of the measuring; the numbers do not depend on it.
    ///   - stop: polled at every frame.
    ///   - onCandidate: called after each candidate with their number so far.
    /// - Throws: what the readers throw; `BatchError.invalid` (65) for clips of different size, rate, or
    ///   (unless they are to be cut) length, and for clips without a frame; `PipelineError.cancelled` when
    ///   `stop` was raised.
    public init(
        reference path: String, candidates paths: [String], length: Length = .refuse, threads: Int = 1,
        stop: StopFlag = StopFlag(), onCandidate: (Int) throws -> Void = { _ in }
    ) throws {
        let reference = try ComparisonClip(path)
        let pool = WorkPool(threads: threads)
        // All are looked at before any is decoded.
        let clips = try paths.map { path in
            let clip = try ComparisonClip(path)
            try Self.requireAlike(clip, reference)
            return clip
        }
        vditVersion = VditPipeline.vditVersion
        conventions = Self.conventions
        self.reference = path
        (width, height) = (reference.width, reference.height)
        var measured: [Candidate] = []
        for clip in clips {
            let candidate = try Self.compare(clip, reference, length, pool) {
                guard stop.isStopping else { return }
                throw PipelineError.cancelled(step: measured.count, steps: clips.count, checkpoint: nil)
            }
            measured.append(candidate)
            try onCandidate(measured.count)
        }
        candidates = measured
    }

    /// Reads what a comparison was written down as.
    ///
    /// - Throws: `BatchError.invalid` (65) for anything else.
    public init(path: String) throws {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        guard let bytes = try? InputFile.contents(of: path, limit: 1 << 30),
            let found = try? decoder.decode(FileComparison.self, from: Data(bytes)), found.schema == 1
        else {
            throw BatchError.invalid(
                path, found: "something else", expected: "the results of a comparison as JSON", kind: .badData)
        }
        self = found
    }

    /// Whether a candidate's headline PSNR is below a limit. Identical clips are above any.
    public func candidates(below limit: Double) -> [Candidate] {
        candidates.filter { $0.quality.psnr.map { $0 < limit } ?? false }
    }

    /// How the numbers are taken, for files and pages that show them.
    public static let conventions = [
        "psnr": "dB from the squared error averaged over all frames, pixels and R'G'B' channels, peak 255 (65535); "
            + "null when every frame is identical",
        "psnr_mean_of_frames": "mean of the per-frame dB over the frames that differ",
        "psnr_y": "the same as psnr for BT.709 luma, not rounded",
        "ssim": "Gaussian 11x11 windows, sigma 1.5, population covariance, inner windows only; mean of R', G', B'",
        "ssim_ffmpeg": "8x8 blocks on a grid of 4, as FFmpeg's ssim filter; mean of R', G', B'",
        "ms_ssim": "5 scales, mean of R', G', B'; null when a side is below 161 pixels",
        "change_psnr": "psnr of the difference between successive frames",
    ]

    private static func requireAlike(_ clip: ComparisonClip, _ reference: ComparisonClip) throws {
        func refuse(_ what: String, _ found: String, _ expected: String) -> BatchError {
            .invalid(
                "\(clip.path): \(what)", found: found, expected: "\(expected) as \(reference.path)",
                kind: .badData)
        }
        if (clip.width, clip.height) != (reference.width, reference.height) {
            throw refuse(
                "size", "\(clip.width)x\(clip.height)", "\(reference.width)x\(reference.height)")
        }
        if let rate = clip.frameRate, let expected = reference.frameRate, rate != expected {
            throw refuse("frame rate", "\(rate)", "\(expected)")
        }
        if (clip.bitDepth > 8) != (reference.bitDepth > 8) {
            throw refuse("bit depth", "\(clip.bitDepth)", "\(reference.bitDepth)")
        }
    }

    private static func compare(
        _ clip: ComparisonClip, _ reference: ComparisonClip, _ length: Length, _ pool: WorkPool,
        onFrame: () throws -> Void
    ) throws -> Candidate {
        let depth: SampleDepth = reference.bitDepth > 8 ? .sixteen : .eight
        let (candidate, expected) = (try clip.frames(depth: depth), try reference.frames(depth: depth))
        var meter = QualityMeter(pool: pool)
        while true {
            let (frame, other) = (try candidate.next(), try expected.next())
            guard let frame, let other else { break }
            try onFrame()
            try meter.add(frame, reference: other)
        }
        while try candidate.next() != nil {}
        while try expected.next() != nil {}
        for (path, frames) in [(clip.path, candidate), (reference.path, expected)] where frames.count == 0 {
            throw BatchError.invalid(
                path, found: "no frames", expected: "at least one", kind: .badData)
        }
        var warnings = warnings(clip, reference)
        if candidate.count != expected.count {
            if case .refuse = length {
                throw BatchError.invalid(
                    "\(clip.path): frames", found: "\(candidate.count)",
                    expected: "\(expected.count) as \(reference.path); 'align' compares the first "
                        + "\(meter.count) of both", kind: .badData)
            }
            warnings.append(
                "only the first \(meter.count) frames are compared: \(clip.path) has \(candidate.count), "
                    + "\(reference.path) \(expected.count)")
        }
        for (path, frames) in [(clip.path, candidate), (reference.path, expected)]
        where frames.hasVariableFrameRate {
            warnings.append(
                "\(path) has a variable frame rate; its frames are compared by number, not by time")
        }
        return Candidate(
            path: clip.path, quality: meter.quality,
            planes: PlaneQuality.serves(clip, reference)
                ? try PlaneQuality(clip, reference, pool: pool) : nil,
            warnings: warnings)
    }

    private static func warnings(_ clip: ComparisonClip, _ reference: ComparisonClip) -> [String] {
        var warnings: [String] = []
        if FilePath.isSame(clip.path, reference.path) {
            warnings.append("\(clip.path) and \(reference.path) are the same file")
        }
        for info in [clip.info, reference.info].compactMap({ $0 }) where info.hasSubsampledChroma {
            warnings.append(
                "\(info.path) stores colour at half resolution (\(info.codec), \(info.pixelFormat)): that alone "
                    + "costs R'G'B' much of its dB; compare FFV1, PNG or saved frames instead")
        }
        if let a = clip.info, let b = reference.info, a.usedMatrix != b.usedMatrix {
            warnings.append(
                "colour matrices differ: \(a.path) \(a.usedMatrix ?? "R'G'B'"), "
                    + "\(b.path) \(b.usedMatrix ?? "R'G'B'")")
        }
        for info in [clip.info, reference.info].compactMap({ $0 }) {
            if let assumed = info.assumedMatrix, info.matrix == nil, !info.isRGB {
                warnings.append("\(info.path) does not say its colour matrix; \(assumed) is assumed")
            }
            if info.hadAlpha { warnings.append("\(info.path): its alpha channel is ignored") }
        }
        return warnings
    }
}

extension VideoInfo {
    fileprivate var isRGB: Bool {
        ["rgb", "gbr", "bgr", "0bgr", "0rgb", "gray", "pal"].contains { pixelFormat.hasPrefix($0) }
    }

    /// The matrix R'G'B' was made with; nil where none was needed.
    fileprivate var usedMatrix: String? { isRGB ? nil : matrix ?? assumedMatrix }
}
