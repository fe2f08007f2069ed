import Foundation
import TestSupport
import Testing
import VDiT

/// `--sparse auto`: the method a run would have been given by someone who read the comparison.
@Suite struct AutomaticChoiceTests {
    /// A `results.json` as a comparison leaves it, of two methods, one of them with a cache too, and a slow third.
    static let measured = """
        {"family": "wan-mini", "settings": {"width": "320", "height": "192", "num_frames": "81", "steps": "20"},
         "variants": [
          {"variant": {"method": "dense", "options": {}}, "label": "dense", "psnr": null, "psnr_lowest_clip": null,
           "seconds": 20, "speed_ratio": 1, "flops_saved": 0},
          {"variant": {"method": "radial", "density": 0.5, "options": {"dense-layers": "0"}}, "label": "radial 0.5",
           "psnr": 43.21, "psnr_lowest_clip": 41, "seconds": 16, "speed_ratio": 1.25, "flops_saved": 0.2},
          {"variant": {"method": "mass", "density": 0.3, "options": {},
                       "cache": {"cache": "fbcache", "budget": 0.5, "options": {}}},
           "label": "mass 0.3+fbcache 0.5", "psnr": 40.5, "psnr_lowest_clip": 39, "seconds": 10, "speed_ratio": 2,
           "flops_saved": 0.5},
          {"variant": {"method": "draft", "density": 0.9, "options": {}}, "label": "draft 0.9", "psnr": 60,
           "psnr_lowest_clip": 59, "seconds": 21, "speed_ratio": 0.95, "flops_saved": 0.05}]}
        """

    static func settings(
        _ text: String = measured, _ change: (inout RenderRequest) -> Void = { _ in }
    ) throws -> RenderSettings {
        let folder = try TemporaryDirectory()
        let path = folder.path("results.json")
        try Data(text.utf8).write(to: URL(filePath: path))
        let model = try ModelDirectory(path: Golden.sample("wan-mini"))
        var request = RenderRequest()
        (request.sparse, request.sparseResults, request.steps) = ("auto", path, 20)
        change(&request)
        return try RenderSettings(request, model: model.specification, sampler: model.scheduler)
    }

    @Test func theFastestThatReachesTheQualityIsTaken() throws {
        let usual = try Self.settings()
        #expect(usual.method.name == "mass" && usual.method.density == 0.3)
        #expect(usual.cache?.name == "fbcache" && usual.cache?.budget == 0.5)
        let better = try Self.settings { $0.sparseQuality = 42 }
        #expect(better.method.name == "radial" && better.method.options["dense-layers"] == "0" && better.cache == nil)
    }

    @Test func theSamplesOwnMeasurementsServe() throws {
        let shipped = try String(contentsOfFile: Golden.sample("results/wan-mini-20-steps.json"), encoding: .utf8)
        let settings = try Self.settings(shipped)
        #expect(settings.method.name == "mass" && settings.cache?.name == "weighted")
    }

    @Test func aTimeTakesTheBestWithinIt() throws {
        #expect(try Self.settings { $0.sparseSeconds = 12 }.method.name == "mass")
        #expect(try Self.settings { $0.sparseSeconds = 100 }.method.name == "radial")
    }

    @Test func theRunSaysWhatWasChosenAndIsTheOneThatWasNamed() throws {
        let model = try ModelDirectory(path: Golden.sample("wan-mini"))
        let chosen = try Self.settings { $0.sparseQuality = 42 }
        let notices = try RenderPlan(chosen, model: model.specification).notices
        #expect(notices.contains { $0.contains("radial 0.5") && $0.contains("43.2 dB") && $0.contains("1.25 ×") })
        var request = RenderRequest()
        (request.sparse, request.density, request.steps) = ("radial", 0.5, 20)
        request.sparseOptions = ["dense-layers": "0"]
        let named = try RenderSettings(request, model: model.specification, sampler: model.scheduler)
        #expect(named.method == chosen.method && named.cache == chosen.cache)
    }

    @Test func numbersThatNoMeasurementHasAreNoTrap() throws {
        let model = try ModelDirectory(path: Golden.sample("wan-mini"))
        let text = Self.measured.replacing("\"flops_saved\": 0.5", with: "\"flops_saved\": 1e300")
        let notices = try RenderPlan(Self.settings(text), model: model.specification).notices
        #expect(notices.contains { $0.contains("mass 0.3") })
    }

    @Test func whatWasNotMeasuredIsRefusedAndNeverDense() throws {
        func refusal(
            _ text: String = Self.measured, _ change: (inout RenderRequest) -> Void = { _ in }
        ) throws -> any Failure {
            let error = try #require(throws: (any Error).self) { try Self.settings(text, change) }
            return try #require(error as? any Failure)
        }
        let cases: [(any Failure, FailureKind, String)] = [
            (try refusal { $0.sparseQuality = 50 }, .usage, "43.2 dB, of radial 0.5"),
            (try refusal { $0.sparseSeconds = 5 }, .usage, "10.0, of mass"),
            (try refusal { ($0.sparseSeconds, $0.sparseQuality) = (50, 30) }, .usage, "one of the two"),
            (try refusal { $0.numFrames = 17 }, .badData, "of num_frames 17"),
            (try refusal { $0.steps = 12 }, .badData, "of steps 12"),
            (try refusal { $0.sparseResults = nil }, .usage, "sparse_results"),
            (try refusal { $0.density = 0.2 }, .usage, "none beside sparse auto"),
            (try refusal { $0.cache = "fbcache" }, .usage, "none beside sparse auto"),
            (try refusal { $0.cacheBudget = 0.5 }, .usage, "none beside sparse auto"),
            (try refusal { $0.sparse = "radial" }, .usage, "none without sparse auto"),
            (try refusal(Self.measured.replacing("wan-mini", with: "wan2.1-1.3b")), .badData, "of model wan-mini"),
            (try refusal(Self.measured.replacing("\"speed_ratio\": 1.25", with: "\"speed_ratio\": 0.9")
                .replacing("\"speed_ratio\": 2", with: "\"speed_ratio\": 0.5")), .badData, "faster than dense"),
            (try refusal("{}"), .badData, "family"),
            (try refusal(Self.measured.replacing("mass", with: "masss")), .badData, "masss"),
        ]
        for (error, kind, words) in cases {
            #expect(error.kind == kind && error.description.contains(words), "\(error)")
            #expect(!error.description.contains("\n"))
        }
    }
}
