import Foundation
import TestSupport
import Testing
import VDiT

/// What a sidecar is good for: to make the video again, and to know that it need not be made.
struct CLIReplayTests {
    private let folder: TemporaryDirectory

    init() throws {
        folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
    }

    private func render(_ output: String, _ more: String...) -> [String] {
        [
            "render", "--model", folder.path("model"), "--prompt-embedding", folder.path("a.safetensors"), "--size",
            "32x32", "--num-frames", "5", "--steps", "3", "-o", folder.path(output),
        ] + more
    }

    private func made(_ arguments: [String], _ environment: [String: String] = [:]) throws -> CommandRun.Result {
        let result = try CommandRun.run(arguments, environment: environment)
        #expect(result.status == 0, "\(result.errors)")
        return result
    }

    private func refused(_ arguments: [String], _ status: Int32, _ text: String) throws {
        let before = folder.contents
        let result = try CommandRun.run(arguments)
        #expect(result.status == status && result.errors.contains(text), "\(result.status) \(result.errors)")
        #expect(result.lines.count == 1 && folder.contents == before, "\(result.errors)")
    }

    private func record(_ output: String) throws -> RunRecord {
        try RunRecord(path: folder.path(output + ".json"))
    }

    // MARK: --from

    @Test func fromASidecarTheSameBytesAreMade() throws {
        _ = try made(
            render(
                "a.mkv", "--negative-prompt-embedding", folder.path("empty.safetensors"), "--guidance-scale", "2.5",
                "--guidance-interval", "0:0.7", "--flow-shift", "4.5", "--scheduler", "dpmpp-2m", "--fps", "30000/1001",
                "--precision", "fp32", "--sparse", "svg2", "--dense-steps", "1", "--dense-layers", "0", "--codec",
                "ffv1", "--sparse-option", "top-p=0.8"))
        _ = try made(["render", "--from", folder.path("a.mkv.json"), "-o", folder.path("b.mkv"), "--threads", "1"])
        let (first, second) = (try record("a.mkv"), try record("b.mkv"))
        #expect(first.output.sha256 != nil && first.output.sha256 == second.output.sha256)
        #expect(first.identity == second.identity && first.latentsSha256 == second.latentsSha256)
        #expect(second.sampling?.threads == 1)

        try FileManager.default.removeItem(atPath: folder.path("a.mkv"))
        _ = try made(["render", "--from", folder.path("a.mkv.json"), "--overwrite"])
        #expect(try Digest.sha256(file: folder.path("a.mkv")) == first.output.sha256)
    }

    @Test func flagsAndEnvironmentOverrideASidecar() throws {
        _ = try made(render("a.mkv", "--guidance-scale", "2.5", "--sparse", "svg2", "--sparse-option", "top-p=0.8"))
        let plan = try made(
            [
                "render", "--from", folder.path("a.mkv.json"), "-o", folder.path("b.webm"), "--steps", "2",
                "--sparse", "rettention", "--prompt-embedding", folder.path("b.safetensors"), "--dry-run",
            ], ["VDIT_FLOW_SHIFT": "7"])
        func row(_ name: String) -> String {
            plan.output.split(separator: "\n").first { $0.hasPrefix(name + " ") }.map(String.init) ?? ""
        }
        #expect(row("steps").contains("2 ") && row("steps").contains("command line"))
        #expect(row("flow_shift").contains("7.0") && row("flow_shift").contains("environment"))
        #expect(row("guidance_scale").contains("2.5") && row("guidance_scale").contains("file"))
        // Another method than the recorded one has options of its own, another container a codec of its own.
        #expect(row("sparse").contains("rettention") && row("sparse_options").isEmpty && row("output").contains("vp9"))
    }

    @Test func fromRefusesOtherInputsAndOtherRecords() throws {
        _ = try made(render("a.y4m"))
        let again = ["render", "--from", folder.path("a.y4m.json")]
        try refused(again, 64, "--output")
        try refused(["render", "--from", folder.path("none.json"), "-o", folder.path("b.y4m")], 66, "none.json")
        try folder.write("{}", "empty.json")
        try refused(["render", "--from", folder.path("empty.json"), "-o", folder.path("b.y4m")], 65, "empty.json")
        var old = try record("a.y4m")
        old.identity = nil
        try old.write(to: folder.path("old.json"), existing: .refuse)
        try refused(["render", "--from", folder.path("old.json"), "-o", folder.path("b.y4m")], 65, "identity")

        let prompt = folder.path("a.safetensors")
        let kept = try bytes(prompt)
        try FileManager.default.removeItem(atPath: prompt)
        try FileManager.default.copyItem(atPath: folder.path("b.safetensors"), toPath: prompt)
        try refused(again + ["-o", folder.path("b.y4m")], 78, "prompt_embedding \(prompt)")
        try kept.write(to: URL(fileURLWithPath: prompt))

        let weights = folder.path("model/transformer/diffusion_pytorch_model.safetensors")
        var content = try bytes(weights)
        content[content.count - 1] ^= 1
        try content.write(to: URL(fileURLWithPath: weights))
        try refused(again + ["-o", folder.path("b.y4m")], 78, "model \(folder.path("model"))")
    }

    // MARK: --skip-existing

    @Test func anOutputOfTheSameSettingsIsSkippedAndOneOfOthersIsAnError() throws {
        let first = try made(render("a.y4m", "--skip-existing"))
        #expect(!first.errors.contains("skipped"))
        let made = try bytes(folder.path("a.y4m"))
        let inode = try FileManager.default.attributesOfItem(atPath: folder.path("a.y4m"))[.systemFileNumber] as? Int
        // The seed was drawn; the one recorded is meant.
        let second = try self.made(render("a.y4m", "--skip-existing", "--threads", "1"))
        #expect(second.lines.count == 1 && second.errors.contains("a.y4m is there already"), "\(second.errors)")
        let still = try FileManager.default.attributesOfItem(atPath: folder.path("a.y4m"))[.systemFileNumber] as? Int
        #expect(inode == still && inode != nil)

        try refused(render("a.y4m", "--skip-existing", "--steps", "2"), 78, "a.y4m.json: steps: found 2, expected 3")
        try refused(render("a.y4m", "--skip-existing", "--fps", "8"), 78, "output.fps: found 8/1, expected 16/1")
        try refused(
            render("a.y4m", "--skip-existing", "--prompt-embedding", folder.path("b.safetensors")), 78,
            "prompt_embedding")
        try refused(render("a.y4m", "--skip-existing", "--overwrite"), 64, "--overwrite")
        var damaged = made
        damaged[damaged.count - 1] ^= 1
        try damaged.write(to: URL(fileURLWithPath: folder.path("a.y4m")))
        try refused(render("a.y4m", "--skip-existing"), 73, "another content")
        try folder.write("mine", "b.y4m")
        try refused(render("b.y4m", "--skip-existing"), 73, "without a record")
    }

    @Test func aSequenceThatIsThereIsSkipped() throws {
        _ = try made(render("f%02d.png", "--skip-existing", "--seed", "1"))
        #expect(try made(render("f%02d.png", "--skip-existing", "--seed", "1")).errors.contains("skipped"))
        try refused(render("f%02d.png", "--skip-existing", "--seed", "2"), 78, "seed: found 2, expected 1")
    }

    // MARK: --frame-rounding

    @Test func framesAreRoundedTheWayThatIsAskedFor() throws {
        func frames(_ arguments: [String], _ environment: [String: String] = [:]) throws -> String {
            let plan = try made(render("a.y4m", "--dry-run") + arguments, environment).output
            return plan.split(separator: "\n").first { $0.hasPrefix("num_frames ") }
                .map { String($0.split(separator: " ")[1]) } ?? ""
        }
        #expect(try frames(["--num-frames", "8", "--frame-rounding", "down"]) == "5")
        #expect(try frames(["--num-frames", "6", "--frame-rounding", "up"]) == "9")
        #expect(try frames(["--num-frames", "9", "--frame-rounding", "up"]) == "9")
        #expect(try frames(["--num-frames", "7"], ["VDIT_FRAME_ROUNDING": "down"]) == "5")
        try refused(render("a.y4m", "--num-frames", "6"), 64, "use 5 or 9")
        try refused(render("a.y4m", "--num-frames", "0", "--frame-rounding", "up"), 64, "num_frames: found 0")
        try refused(render("a.y4m", "--num-frames", "6", "--frame-rounding", "nearest"), 64, "'nearest'")
        let rounded = try made(render("a.y4m", "--num-frames", "6", "--frame-rounding", "down"))
        #expect(rounded.errors.contains("num_frames: 6 rounded to 5"))
        #expect(try record("a.y4m").sampling?.numFrames == 5)
    }
}
