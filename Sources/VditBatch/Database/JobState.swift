import VditMedia

/// Where a job is.
public enum JobState: String, Sendable, Codable, CaseIterable {
    case pending, running, done, failed, cancelled
}

/// What a finished job is remembered by.
public struct JobMetrics: Sendable, Codable, Equatable {
    /// Wall-clock time of the attempt that finished it.
    public var seconds = 0.0
    public var loadSeconds = 0.0
    public var denoiseSeconds = 0.0
    public var decodeSeconds = 0.0
    public var encodeSeconds = 0.0
    /// Steps that came from a checkpoint.
    public var resumedSteps = 0
    public var peakRssBytes = 0
    /// Mean over the sparse calls, in token pairs.
    public var density: Double?
    public var sparseCalls = 0
    public var latentsSha256 = ""
    public var outputSha256: String?
    /// Multiply-adds counted twice, of what was computed: for the time estimate of the rest.
    public var flops = 0.0
    /// Mean time of the sampler's steps that the last attempt computed.
    public var stepSeconds: Double?
    /// Token pairs computed over those of dense attention.
    public var work: Double?
    /// What a comparison found; nil for a render.
    public var comparison: MeasuredClips?

    public init() {}
}

/// The headline numbers of a comparison.
public struct MeasuredClips: Sendable, Codable, Equatable {
    public struct Candidate: Sendable, Codable, Equatable {
        public var clip: PlannedComparison.Clip
        /// dB, as `Quality.psnr`; null when every frame is identical.
        @Nullable public var psnr: Double?
        @Nullable public var psnrLowest: Double?
        /// Null where frames are smaller than the window.
        @Nullable public var ssim: Double?

        /// Both numbers, for people.
        public var summary: String {
            psnr == nil ? "identical to the reference" : "PSNR \(decibels(psnr)) dB, SSIM \(similarity(ssim))"
        }
    }

    /// The comparison's name in the file.
    public var name: String
    public var reference: PlannedComparison.Clip
    public var candidates: [Candidate]

    /// The lowest of the candidates; nil where all are identical to the reference.
    public var psnr: Double? { candidates.compactMap(\.psnr).min() }
    public var ssim: Double? { candidates.compactMap(\.ssim).min() }

    /// What is wrong where a candidate is below a limit in dB.
    func shortfall(below limit: Double?) -> String? {
        guard let limit else { return nil }
        let below = candidates.filter { $0.psnr.map { $0 < limit } ?? false }
        guard !below.isEmpty else { return nil }
        return below.map { "\($0.clip.path): PSNR \(decibels($0.psnr)) dB is below \(limit) dB" }.joined(separator: "; ")
    }
}

/// A job as the database has it.
public struct JobStatus: Sendable, Codable, Equatable {
    public let id: String
    public let output: String
    public let state: JobState
    public let attempts: Int
    public let failures: Int
    public let step: Int
    public let steps: Int
    public let needs: [String]
    /// Wall-clock times, for people: ISO 8601, UTC.
    public let startedAt: String?
    public let finishedAt: String?
    public let error: String?
    public let metrics: JobMetrics?
    public let kind: Kind

    public enum Kind: String, Sendable, Codable { case render, comparison }

    /// Whether the output of a job that is done is gone, or holds something else by now.
    public var isAltered: Bool {
        guard state == .done, let digest = metrics?.outputSha256 else { return false }
        return (try? Digest.sha256(file: output)) != digest
    }
}

/// One line of a job's history.
public struct JobEvent: Sendable, Codable, Equatable {
    public let job: String
    public let attempt: Int
    public let at: String
    public let kind: String
    public let text: String
}

/// The right to run a job, held by one process at a time.
public struct Claim: Sendable, Equatable {
    public let job: String
    public let attempt: Int
}
