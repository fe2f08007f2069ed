import Foundation
import TestSupport
import Testing
import VDiT

/// A render that cannot work fails before anything is computed, and says what would work.
struct RenderBadInput {
    static let model = Result { try ModelDirectory(path: Golden.sample("wan-mini")) }

    static func settings(_ change: (inout RenderRequest) -> Void) throws -> RenderSettings {
        var request = RenderRequest()
        change(&request)
        return try RenderSettings(
            request, model: model.get().specification, sampler: model.get().scheduler)
    }

    static func refusal(_ change: (inout RenderRequest) -> Void) throws -> any Failure {
        let error = try #require(throws: (any Error).self) { try Self.settings(change) }
        return try #require(error as? any Failure)
    }

    @Test(arguments: [(100, "96 or 112"), (0, "16"), (-16, "16"), (1_000_000_000, "16384"), (17, "16 or 32"), (Int.max, "16384"), (Int.min, "16384")])
    func sizesNameWhatWouldWork(value: Int, word: String) throws {
        let width = try Self.refusal { $0.width = value }
        let height = try Self.refusal { $0.height = value }
        #expect(width.kind == .usage && width.description.contains(word))
        #expect(height.description.hasPrefix("height:") && height.description.contains(word))
    }

    @Test(arguments: [(82, "81 or 85"), (2, "1 or 5"), (0, "4k+1"), (-3, "4k+1"), (1_000_000_000, "4k+1"), (Int.max, "4k+1")])
    func frameCountsNameTheirNeighbours(value: Int, word: String) throws {
        let error = try Self.refusal { $0.numFrames = value }
        #expect(error.kind == .usage && error.description.contains(word))
    }

    @Test func numbersOutOfRangeAreUsageErrors() throws {
        for error in [
            try Self.refusal { $0.steps = 0 }, try Self.refusal { $0.steps = -1 },
            try Self.refusal { $0.steps = 1_000_000 }, try Self.refusal { $0.guidanceScale = .nan },
            try Self.refusal { $0.guidanceScale = -1 }, try Self.refusal { $0.guidanceScale = .infinity },
            try Self.refusal { $0.guidanceInterval = GuidanceInterval(0.5, 0.2) },
            try Self.refusal { $0.guidanceInterval = GuidanceInterval(-.infinity, .nan) },
            try Self.refusal { $0.seed = -1 }, try Self.refusal { $0.threads = 0 },
            try Self.refusal { $0.threads = 9999 }, try Self.refusal { $0.density = 0 },
            try Self.refusal { $0.secondGuidanceScale = 3 },
            try Self.refusal { $0.scheduler = .euler; $0.sigmaSpacing = .original },
        ] {
            #expect(error.kind == .usage && !error.description.contains("\n"))
        }
    }

    @Test func theSampleModelsCardDecidesWhatIsNotGiven() throws {
        let settings = try Self.settings { $0.steps = 7 }
        #expect(settings.width == 320 && settings.height == 192 && settings.numFrames == 81)
        #expect(settings.steps == 7 && settings.guidanceScale == 4)
        #expect(settings.frameRate.framesPerSecond == 16)
        #expect(settings.scheduler.flowShift == 3)
        let origins = Dictionary(uniqueKeysWithValues: settings.table.map { ($0.name, $0.origin) })
        #expect(origins["steps"] == .commandLine && origins["width"] == .model)
        #expect(origins["precision"] == .builtIn)
    }

    @Test func anotherSchedulerKeepsTheShift() throws {
        let settings = try Self.settings { $0.scheduler = .euler }
        #expect(settings.scheduler.kind == .euler && settings.scheduler.flowShift == 3)
    }

    // MARK: Whole jobs

    static func job(_ folder: String) throws -> RenderJob {
        var job = RenderJob(
            model: Golden.sample("wan-mini"),
            promptEmbedding: Golden.sample("prompts/01-red-ball-right.safetensors"),
            destination: VideoDestination(
                path: folder + "/out.mkv", options: VideoOptions(frameRate: try FrameRate(16))))
        job.request.width = 32
        job.request.height = 32
        job.request.numFrames = 5
        job.request.steps = 2
        return job
    }

    static func inFolder(_ body: (String) throws -> Void) throws {
        let folder = NSTemporaryDirectory() + "vdit-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try body(folder)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder).allSatisfy { $0.hasPrefix("in-") })
    }

    /// The job is refused with an error that contains `word`, and writes nothing.
    static func expectRefusal(
        _ word: String, _ kind: FailureKind, _ change: (inout RenderJob, String) throws -> Void
    ) throws {
        try inFolder { folder in
            var job = try job(folder)
            try change(&job, folder)
            do {
                _ = try Renderer(job)
                Issue.record("\(word): accepted")
            } catch let failure as any Failure {
                #expect(failure.kind == kind && failure.description.contains(word), "\(failure)")
            }
        }
    }

    @Test func jobsThatCannotWorkAreRefusedBeforeAnythingIsComputed() throws {
        try Self.expectRefusal("no such file", .missingInput) { job, _ in job.model = ModelReference("/nowhere") }
        try Self.expectRefusal("model_index.json", .badData) { job, _ in
            job.model = ModelReference(Golden.sample("wan-mini/transformer"))
        }
        try Self.expectRefusal("memory", .osError) { job, _ in job.memoryLimit = 1 << 20 }
        try Self.expectRefusal("exists", .cannotCreate) { job, folder in
            job.destination.path = folder + "/in-place.mkv"
            try Data([1]).write(to: URL(fileURLWithPath: job.destination.path))
        }
        try Self.expectRefusal("does not exist", .cannotCreate) { job, folder in
            job.destination.path = folder + "/none/out.mkv"
        }
        try Self.expectRefusal("same file as the", .usage) { job, _ in
            job.saveLatents = job.destination.path
        }
        try Self.expectRefusal("no such file", .missingInput) { job, _ in job.resume = .required }
        try Self.expectRefusal("preview", .usage) { job, folder in
            job.preview = (0, folder + "/preview.png")
        }
        try Self.expectRefusal("channels", .badData) { job, folder in
            let path = folder + "/in-latents.safetensors"
            try LatentsFile.write(
                Tensor(.f32, [4, 2, 4, 4]), metadata: [:], to: path, existing: .refuse)
            job.latents = path
        }
        try Self.expectRefusal("frames, height, width", .badData) { job, folder in
            let path = folder + "/in-latents.safetensors"
            try LatentsFile.write(
                Tensor(.f32, [16, 3, 4, 4]), metadata: [:], to: path, existing: .refuse)
            job.latents = path
        }
        try Self.expectRefusal("NaN", .badData) { job, folder in
            let path = folder + "/in-latents.safetensors"
            let values = Tensor(.f32, [16, 2, 4, 4])
            values.withMutableFloats { $0[3] = .nan }
            try LatentsFile.write(values, metadata: [:], to: path, existing: .refuse)
            job.latents = path
        }
    }
}
