import Foundation
import TestSupport
import Testing
import VDiT

/// A job that takes about a second: two latent frames of the sample model.
func smallRender(_ output: String, steps: Int = 3, _ more: String...) -> [String] {
    [
        "render", "--model", Golden.sample("wan-mini"), "--prompt-embedding",
        Golden.sample("prompts/01-red-ball-right.safetensors"), "--negative-prompt-embedding",
        Golden.sample("prompts/empty.safetensors"), "--size", "96x64", "--num-frames", "5", "--steps",
        "\(steps)", "-o", output,
    ] + more
}

func bytes(_ path: String) throws -> Data {
    try #require(FileManager.default.contents(atPath: path), "\(path)")
}

struct CLIRenderTests {
    @Test(arguments: ["clip.mp4", "clip.webm", "clip.gif", "clip.y4m", "frame%03d.png"])
    func rendersAFileWithTheFramesAskedForAndNothingElse(_ name: String) throws {
        let folder = try TemporaryDirectory()
        let result = try CommandRun.run(smallRender(folder.path(name)))
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.isEmpty)
        let reader = try FFmpegReader(folder.path(name))
        var frames = 0
        while try reader.next() != nil { frames += 1 }
        #expect(frames == 5)
        #expect(reader.info.width == 96 && reader.info.height == 64)
        if !name.contains("%") { #expect(folder.contents == [name, name + ".json"]) }
        let record = try RunRecord(path: RunRecord.path(forOutput: folder.path(name)))
        #expect(record.output.frames == 5)
        #expect(record.command.first == "vdit")
    }

    @Test func sidecarSaysTheSeedThatWasDrawnAndItMakesTheSameLatents() throws {
        let folder = try TemporaryDirectory()
        #expect(try CommandRun.run(smallRender(folder.path("a.y4m"))).status == 0)
        let seed = try #require(try RunRecord(path: folder.path("a.y4m.json")).sampling?.seed)
        let result = try CommandRun.run(smallRender(folder.path("b.y4m"), steps: 3, "--seed", "\(seed)"))
        #expect(result.status == 0)
        #expect(try bytes(folder.path("a.y4m")) == bytes(folder.path("b.y4m")))
    }

    @Test(arguments: ["bf16", "fp32"])
    func oneThreadMakesTheBytesThatTwoMake(_ precision: String) throws {
        let folder = try TemporaryDirectory()
        for threads in ["1", "2"] {
            let result = try CommandRun.run(
                smallRender(
                    folder.path("\(threads).y4m"), steps: 3, "--seed", "7", "--threads", threads,
                    "--precision", precision, "--save-latents", folder.path("\(threads).safetensors")))
            #expect(result.status == 0, "\(result.errors)")
        }
        #expect(try bytes(folder.path("1.y4m")) == bytes(folder.path("2.y4m")))
        let latents = try ["1", "2"].map {
            try SafetensorsReader(folder.path("\($0).safetensors")).tensor("latents").floats()
        }
        #expect(latents[0] == latents[1])
    }

    @Test func memoryNodesChangeNoByteAndWhatIsDoneIsSaid() throws {
        let folder = try TemporaryDirectory()
        for (name, flags) in [("plain", []), ("nodes", ["--numa"])] {
            let result = try CommandRun.run(smallRender(folder.path("\(name).y4m"), "--seed", "7") + flags)
            #expect(result.status == 0, "\(result.errors)")
            #expect(result.errors.contains("numa: ") == !flags.isEmpty)
        }
        #expect(try bytes(folder.path("plain.y4m")) == bytes(folder.path("nodes.y4m")))
        let record = try RunRecord(path: folder.path("nodes.y4m.json"))
        #expect(record.warnings.contains { $0.hasPrefix("numa: ") })
    }

    @Test func existingOutputStaysUnlessOverwriteIsGiven() throws {
        let folder = try TemporaryDirectory()
        let path = try folder.write("precious", "a.y4m")
        let refused = try CommandRun.run(smallRender(path))
        #expect(refused.status == 73)
        #expect(refused.errors.contains("'overwrite'"))
        #expect(try bytes(path) == Data("precious".utf8))
        #expect(folder.contents == ["a.y4m"])
        #expect(try CommandRun.run(smallRender(path, steps: 1, "--overwrite")).status == 0)
        #expect(try bytes(path).starts(with: Data("YUV4MPEG2".utf8)))
    }

    @Test func dryRunShowsEverySettingAndItsOriginAndTouchesNothing() throws {
        let folder = try TemporaryDirectory()
        let result = try CommandRun.run(
            smallRender(folder.path("a.mp4"), steps: 4, "--dry-run"),
            environment: ["VDIT_GUIDANCE_SCALE": "2.5", "VDIT_STEPS": "9"])
        #expect(result.status == 0, "\(result.errors)")
        func row(_ name: String) -> String {
            result.output.split(separator: "\n").first { $0.hasPrefix(name + " ") }.map(String.init) ?? ""
        }
        #expect(row("steps").contains("4 ") && row("steps").contains("command line"))
        #expect(row("guidance_scale").contains("2.5") && row("guidance_scale").contains("environment"))
        #expect(row("flow_shift").contains("3.0") && row("flow_shift").contains("model"))
        #expect(row("precision").contains("bf16") && row("precision").contains("built-in"))
        #expect(row("tokens").contains("48"))
        #expect(!row("memory").isEmpty && !row("work").isEmpty && !row("time").isEmpty)
        #expect(folder.contents.isEmpty)
    }

    @Test func quietSaysNothingAndJSONLogsAreOneObjectPerLine() throws {
        let folder = try TemporaryDirectory()
        let quiet = try CommandRun.run(smallRender(folder.path("a.y4m"), steps: 2, "--quiet"))
        #expect(quiet.status == 0 && quiet.errors.isEmpty && quiet.output.isEmpty)
        let logged = try CommandRun.run(smallRender(folder.path("b.y4m"), steps: 2, "--log-format", "json", "--json"))
        let events = try logged.lines.map { line in
            try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any], "\(line)")
        }
        #expect(events.compactMap { $0["event"] as? String }.filter { $0 == "step" }.count == 2)
        #expect(events.last?["event"] as? String == "finished")
        let record = try JSONSerialization.jsonObject(with: Data(logged.output.utf8)) as? [String: Any]
        #expect(record?["vdit_version"] as? String == vditVersion)
    }

    @Test func progressIsPlainLinesWhereNothingCanBeRedrawn() throws {
        let folder = try TemporaryDirectory()
        let result = try CommandRun.run(smallRender(folder.path("a.y4m"), steps: 2))
        #expect(result.lines.contains { $0.hasPrefix("step 1/2: ") && $0.contains(" gone") })
        #expect(result.lines.contains { $0.hasPrefix("frame 5/5") })
        #expect(!result.errors.contains("\r") && !result.errors.contains("\u{1b}"))
    }

    @Test func previewTrajectoryAndLatentsAreLeftWhereAsked() throws {
        let folder = try TemporaryDirectory()
        let result = try CommandRun.run(
            smallRender(
                folder.path("a.y4m"), steps: 2, "--preview-every", "1", "--save-trajectory",
                folder.path("trajectory"), "--save-latents", folder.path("a.safetensors"),
                "--contact-sheet", folder.path("sheet.png")))
        #expect(result.status == 0, "\(result.errors)")
        #expect(
            folder.contents == [
                "a.safetensors", "a.y4m", "a.y4m.json", "a.y4m.preview.png", "sheet.png", "trajectory",
            ])
        #expect(try PNG.read(folder.path("a.y4m.preview.png")).samples.shape.prefix(2) == [64, 96])
        let last = try SafetensorsReader(folder.path("trajectory/step_001.safetensors")).tensor("latents")
        let kept = try SafetensorsReader(folder.path("a.safetensors")).tensor("latents")
        #expect(last.floats() == kept.floats())
    }

    @Test func latentsOfOneRenderAreTheNoiseOfAnother() throws {
        let folder = try TemporaryDirectory()
        let first = smallRender(folder.path("a.y4m"), steps: 2, "--seed", "3", "--save-trajectory", folder.path("t"))
        #expect(try CommandRun.run(first).status == 0)
        let second = smallRender(
            folder.path("b.y4m"), steps: 2, "--latents", folder.path("t/initial_noise.safetensors"))
        #expect(try CommandRun.run(second).status == 0)
        #expect(try bytes(folder.path("a.y4m")) == bytes(folder.path("b.y4m")))
    }

    @Test func sparseMethodIsWhatRanAndTheRecordSaysSo() throws {
        let folder = try TemporaryDirectory()
        let result = try CommandRun.run(
            smallRender(
                folder.path("a.y4m"), steps: 2, "--sparse", "radial", "--dense-steps", "0", "--dense-layers", "0",
                "--sparse-option", "block=16"))
        #expect(result.status == 0, "\(result.errors)")
        let attention = try #require(try RunRecord(path: folder.path("a.y4m.json")).attention)
        #expect(attention.method == "radial")
        #expect(attention.options["block"] == "16")
        #expect(attention.sparseCalls + attention.denseCalls == 2 * 2 * 8)
    }
}
