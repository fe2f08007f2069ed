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
    /// Multiply-adds counted twice, with dense attention: for the time estimate of the rest.
    public var flops = 0.0

    public init() {}
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
    /// Whether an earlier attempt may have left a checkpoint.
    public var isRepeated: Bool { attempt > 1 }
}
