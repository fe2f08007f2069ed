import Foundation
import TestSupport
import Testing
import VDiT

/// Every flow case of Tests/Golden/schedulers: schedule and trajectory of diffusers 0.42.1.
struct SchedulerParity {
    static let files = ["unipc-flow", "flow-match-euler", "dpmsolver-multistep-flow"]

    struct Case: CustomTestStringConvertible {
        let file: String
        let name: String
        let steps: Int
        let start: String
        let configuration: Data
        var testDescription: String { "\(file): \(name)" }
    }

    static let cases: [Case] = files.flatMap { file -> [Case] in
        let path = Golden.path("schedulers/\(file).json")
        guard let text = try? String(contentsOfFile: path, encoding: .utf8),
            let json = try? JSONSerialization.jsonObject(
                with: Data(text.replacingOccurrences(of: "-Infinity", with: "null").utf8)),
            let cases = (json as? [String: Any])?["cases"] as? [[String: Any]]
        else { return [] }
        return cases.compactMap { entry in
            guard let name = entry["name"] as? String, let steps = entry["steps"] as? Int,
                let start = entry["set_timesteps"] as? String,
                var configuration = entry["config"] as? [String: Any],
                let className = entry["class"] as? String
            else { return nil }
            configuration["_class_name"] = className
            guard let data = try? JSONSerialization.data(withJSONObject: configuration)
            else { return nil }
            return Case(file: file, name: name, steps: steps, start: start, configuration: data)
        }
    }

    @Test func everyGoldenCaseIsRead() { #expect(Self.cases.count == 18 + 11 + 5) }

    static func scheduler(for entry: Case) throws -> any Scheduler {
        var configuration = try SchedulerConfiguration(
            ConfigFile(temporary: entry.configuration))
        if entry.name.hasPrefix("legacy") { configuration.spacing = .original }
        let start: NoiseSpacing =
            switch entry.start {
            case let text where text.hasPrefix("sigmas=linspace(1,0"): .linearToZero
            case let text where text.hasPrefix("sigmas=linspace(1,1/n"): .linearToLast
            case let text where text.hasPrefix("sigmas=linear_quadratic"):
                .linearQuadratic(threshold: 0.025)
            default: .interpolated
            }
        let tokens = entry.name.components(separatedBy: "tokens").last.flatMap(Int.init) ?? 0
        return try configuration.scheduler(steps: entry.steps, tokens: tokens, start: start)
    }

    @Test(arguments: cases)
    func sigmasAndTimestepsAreTheReferences(entry: Case) throws {
        let golden = try SafetensorsReader(Golden.path("schedulers/\(entry.file).safetensors"))
        let steps = try Self.scheduler(for: entry).steps
        let sigmas = try golden.tensor("\(entry.name).sigmas").floats()
        let timesteps = Golden.numbers(try golden.tensor("\(entry.name).timesteps"))
        #expect(steps.count == timesteps.count)
        let ours = steps.map(\.sigma) + [steps[steps.count - 1].nextSigma]
        for (a, b) in zip(ours, sigmas) { #expect(abs(a - Double(b)) <= 1e-7) }
        for (step, timestep) in zip(steps, timesteps) {
            // Whole for UniPC and DPM-Solver: then the bound means equal.
            #expect(abs(step.timestep - timestep) <= 1e-4)
            if entry.file != "flow-match-euler" { #expect(step.timestep == timestep) }
        }
    }

    @Test(arguments: cases)
    func trajectoryIsTheReferences(entry: Case) throws {
        let golden = try SafetensorsReader(Golden.path("schedulers/\(entry.file).safetensors"))
        let trajectory = try golden.tensor("\(entry.name).trajectory")
        var scheduler = try Self.scheduler(for: entry)
        var latents = trajectory[0].copy()
        for step in scheduler.steps.prefix(trajectory.shape[0] - 1) {
            latents = scheduler.advance(
                latents, prediction: pseudoModel(latents, step), at: step)
            let expected = trajectory[step.index + 1].floats()
            let worst = zip(latents.floats(), expected).map { abs($0 - $1) }.max() ?? .infinity
            #expect(worst <= 1e-5, "step \(step.index)")
        }
    }

    /// The goldens' model: v = 0.3 x + 0.1 sin(t / 1000 + x).
    func pseudoModel(_ latents: Tensor, _ step: Step) -> Tensor {
        Tensor(
            latents.floats().map { 0.3 * $0 + 0.1 * sin(step.timestep / 1000 + $0) },
            shape: latents.shape)
    }
}

extension ConfigFile {
    /// A configuration with the given content, written to a file that is gone afterwards.
    init(temporary content: Data) throws {
        let path = NSTemporaryDirectory() + "vdit-\(UUID().uuidString).json"
        try content.write(to: URL(fileURLWithPath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        try self.init(path: path)
    }
}
