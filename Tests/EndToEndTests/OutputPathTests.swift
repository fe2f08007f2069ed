import Foundation
import TestSupport
import Testing
import VDiT

/// Where a command's outputs go, as a person spells it: nothing is replaced that was not meant.
struct OutputPathTests {
    private let folder: TemporaryDirectory

    init() throws {
        folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
        try FileManager.default.createSymbolicLink(atPath: folder.path("linked"), withDestinationPath: folder.path)
        try FileManager.default.linkItem(atPath: folder.path("a.safetensors"), toPath: folder.path("hard.safetensors"))
    }

    private func vdit(_ arguments: [String]) throws -> CommandRun.Result {
        try CommandRun.run(arguments, script: "cd '\(folder.path)' && exec \"$VDIT\" \"$@\"")
    }

    private static let render = [
        "render", "--model", "model", "--prompt-embedding", "a.safetensors", "--size", "32x32", "--num-frames", "5",
        "--steps", "2", "--seed", "1", "--threads", "1", "--quiet",
    ]

    private static let weights = "model/vae/diffusion_pytorch_model.safetensors"

    @Test(arguments: [
        render + ["-o", "o.mkv", "--save-latents", "./a.safetensors"],
        render + ["-o", "o.mkv", "--save-latents", "linked/a.safetensors"],
        render + ["-o", "o.mkv", "--save-latents", "hard.safetensors"],
        render + ["-o", "o.mkv", "--save-latents", weights],
        render + ["-o", "o.png", "--contact-sheet", "linked/o.png"],
        render + ["-o", "o.mkv", "--preview-every", "1", "--preview-path", "o.mkv.json"],
        ["predict", "--model", "model", "--inputs", "a.safetensors", "-o", "./a.safetensors"],
        ["predict", "--model", "linked/model", "--inputs", "a.safetensors", "-o", weights],
        ["attend", "--sparse", "draft", "--qkv", "a.safetensors", "--frames", "1", "--height", "1", "--width", "1",
            "-o", "hard.safetensors"],
        ["mask", "--sparse", "draft", "--model", "model", "--prompt-embedding", "a.safetensors", "-o",
            "./a.safetensors"],
        ["attention-map", "--sparse", "draft", "--model", "model", "--prompt-embedding", "a.safetensors", "-o",
            "m.safetensors", "--save-qkv", "linked/m.safetensors"],
        ["decode", "--latents", "a.safetensors", "--model", "model", "-o", "linked/a.safetensors"],
        ["compare", "a.safetensors", "empty.safetensors", "--csv", "./a.safetensors"],
        ["compare", "a.safetensors", "empty.safetensors", "--csv", "t", "--markdown", "linked/t"],
    ])
    func anOutputOverAnInputOrAnotherIsRefused(_ arguments: [String]) throws {
        func digests() throws -> [String] {
            try ["a.safetensors", Self.weights].map { try Digest.sha256(file: folder.path($0)) }
        }
        let (names, before) = (folder.contents, try digests())
        let ended = try vdit(arguments + ["--overwrite"])
        #expect(ended.status == 64 && ended.lines.count == 1, "\(ended.errors)")
        #expect(ended.errors.contains("would replace") || ended.errors.contains("the same file"), "\(ended.errors)")
        #expect(try folder.contents == names && digests() == before)
    }

    @Test func anAdapterIsAnInputToo() throws {
        let adapter = folder.path("l.safetensors")
        try FileManager.default.copyItem(atPath: Golden.sample("wan-mini/lora/4-step.safetensors"), toPath: adapter)
        let digest = try Digest.sha256(file: adapter)
        let ended = try vdit(
            smallRender("o.mkv", steps: 4, "--guidance-scale", "1", "--lora", "l.safetensors", "--save-latents", "./l.safetensors")
                + ["--overwrite"])
        #expect(ended.status == 64 && ended.errors.contains("would replace the adapter"), "\(ended.errors)")
        #expect(try Digest.sha256(file: adapter) == digest)
    }

    private static let study = ["--model", "model", "--prompt-embedding", "a.safetensors", "--frames", "5"]

    /// Whatever names a file to read, in every command that takes it.
    @Test(arguments: [
        ["mask", "--sparse", "draft", "--lora", "./kept"] + study + ["-o", "kept.safetensors"],
        ["attention-map", "--sparse", "draft", "--image", "kept"] + study + ["-o", "m.png", "--save-qkv", "./kept"],
        ["calibrate", "--model", "model", "--prompt-embedding", "a.safetensors", "--lora", "kept", "-o", "./kept"],
        ["calibrate", "--model", "model", "--prompt-embedding", "a.safetensors", "--negative-prompt-embedding", "kept",
            "-o", "./kept"],
        ["compare", "--model", "model", "--prompt-embedding", "a.safetensors", "--methods", "draft", "--lora", "kept",
            "-o", "report", "--csv", "./kept"],
        ["compare", "--model", "model", "--prompt-embedding", "a.safetensors", "--methods", "draft", "--video", "kept",
            "-o", "report", "--markdown", "./kept"],
        ["convert", "model", "--lora", "kept.safetensors", "-o", "./kept.safetensors"],
        ["embed", "--prompt-file", "kept", "--model", "model", "-o", "./kept"],
        ["decode", "--latents", "named.safetensors", "-o", weights],
    ])
    func whateverIsReadIsNoOutput(_ arguments: [String]) throws {
        try folder.write("kept", "kept")
        try FileManager.default.linkItem(atPath: folder.path("kept"), toPath: folder.path("kept.safetensors"))
        let stored = try SafetensorsReader(folder.path("a.safetensors"))
        try SafetensorsWriter.write(
            ["latents": stored.tensor("prompt_embeds")], metadata: ["model": folder.path("model")],
            to: folder.path("named.safetensors"), existing: .refuse)
        let (names, weights) = (folder.contents, try Digest.sha256(file: folder.path(Self.weights)))
        let ended = try vdit(arguments + ["--overwrite"])
        #expect(ended.status == 64 && ended.errors.contains("would replace the "), "\(ended.errors)")
        #expect(try String(contentsOfFile: folder.path("kept"), encoding: .utf8) == "kept")
        #expect(try folder.contents == names && Digest.sha256(file: folder.path(Self.weights)) == weights)
    }

    @Test func aPercentSignInAVideosNameIsALetter() throws {
        #expect(try vdit(Self.render + ["-o", "50%.y4m"]).status == 0)
        #expect(folder.contents.contains("50%.y4m.json") && !folder.contents.contains("sequence.json"))
        #expect(try vdit(Self.render + ["-o", "50%.y4m", "--skip-existing"]).status == 0)
    }

    @Test func aPreviewReplacesOnlyItsOwn() throws {
        try folder.write("mine", "mine.png")
        let preview = ["-o", "o.y4m", "--preview-every", "1", "--preview-path", "mine.png"]
        let refused = try vdit(Self.render + preview)
        #expect(refused.status == 73 && refused.errors.contains("mine.png: exists already"), "\(refused.errors)")
        #expect(try String(contentsOfFile: folder.path("mine.png"), encoding: .utf8) == "mine")
        #expect(try vdit(Self.render + preview + ["--overwrite"]).status == 0)
    }

    @Test func filesSomebodyKeepsAreNotReplacedAfterAllStepsAreComputed() throws {
        try folder.write("kept", "o.mkv.latents.safetensors")
        let latents = try vdit(Self.render + ["-o", "o.mkv"])
        #expect(latents.status == 73 && latents.errors.contains("exists already"), "\(latents.errors)")
        #expect(try String(contentsOfFile: folder.path("o.mkv.latents.safetensors"), encoding: .utf8) == "kept")
        try folder.write("kept", "steps/step_001.safetensors")
        let steps = try vdit(Self.render + ["-o", "p.mkv", "--save-trajectory", "steps"])
        #expect(steps.status == 73 && steps.errors.contains("step_001.safetensors: exists already"), "\(steps.errors)")
        #expect(!folder.contents.contains { $0.hasPrefix("p.mkv") })
    }

    @Test func aLongVideoIsPlanned() throws {
        let ended = try CommandRun.run([
            "render", "--model", Golden.sample("wan-mini"), "--prompt-embedding",
            Golden.sample("prompts/01-red-ball-right.safetensors"), "--size", "1280x720", "--num-frames", "601",
            "--sparse", "radial", "--density", "0.2", "--memory-limit", "9T", "--dry-run", "-o", folder.path("o.mkv"),
        ])
        #expect(ended.status == 0, "\(ended.errors)")
    }

    @Test func aSmallStackIsEnough() throws {
        let ended = try CommandRun.run(
            Self.render + ["-o", "o.mkv"], script: "cd '\(folder.path)' && ulimit -s 64 && exec \"$VDIT\" \"$@\"")
        #expect(ended.status == 0, "\(ended.errors)")
    }

    // MARK: Batches

    @Test(arguments: [
        "o/{seed}.mkv", "~/{seed}.mkv", "é/{seed}.mkv", "{seed}.mkv", "./{seed}.mkv", "a/b/c/{seed}.mkv",
    ])
    func aBatchMakesTheFolderItNames(_ output: String) throws {
        let fixture = try BatchFixture("database: d\n" + BatchFixture.seeds(1), output: "\"\(output)\"")
        let ended = try fixture.vdit(["batch", "batch.yaml", "-q"])
        #expect(ended.status == 0, "\(ended.errors)")
        let path = fixture.folder.path(output.replacing("{seed}", with: "1"))
        #expect(FileManager.default.fileExists(atPath: path) && fixture.folder.contents.contains("d"))
        #expect(try fixture.vdit(["batch", "status", "batch.yaml"]).status == 0)
    }

    @Test(arguments: ["p", ".", "", "~", "/"])
    func aPipelineThatIsNoneIsRefused(_ name: String) throws {
        for command in [["batch", name], ["batch", "status", name]] {
            let ended = try vdit(command)
            #expect([64, 65, 66].contains(ended.status) && ended.lines.count == 1, "\(ended.status) \(ended.errors)")
        }
    }

    @Test(arguments: [
        ("database: out/batch-1.mkv", "database: batch/1 writes out/batch-1.mkv too"),
        ("database: linked/batch-1.mkv", "database: batch/1 writes linked/batch-1.mkv too"),
        ("database: batch.yaml", "the database would replace the pipeline file"),
        ("table: \"\"", "table: found the text \"\""), ("database: ${NOTHING}", "database: the path is empty"),
        ("table: README.md", "README.md is there already and is no table of a batch"),
    ])
    func filesOfABatchThatAreOthersAreRefused(_ key: String, _ says: String) throws {
        let fixture = try BatchFixture(key + "\n" + BatchFixture.seeds(1))
        try fixture.folder.write("mine", "README.md")
        try fixture.folder.write("", "out/.keep")
        try FileManager.default.createSymbolicLink(
            atPath: fixture.folder.path("linked"), withDestinationPath: fixture.folder.path("out"))
        let ended = try fixture.vdit(["batch", "batch.yaml"], environment: ["NOTHING": ""])
        #expect(ended.status == 78 && ended.errors.contains(says), "\(ended.errors)")
        #expect(try String(contentsOfFile: fixture.folder.path("README.md"), encoding: .utf8) == "mine")
    }

    @Test func aTableIsNotMadeOverWhatAJobReads() throws {
        let fixture = try BatchFixture("jobs: [{name: a, seed: 1}]")
        #expect(try fixture.vdit(["batch", "batch.yaml", "-q"]).status == 0)
        let notes = fixture.folder.path("notes.md")
        try FileManager.default.copyItem(atPath: fixture.folder.path("out/a-1.mkv"), toPath: notes)
        let given = ["table=./notes.md", "defaults.overwrite=true", "defaults.video=notes.md"].flatMap { ["--set", $0] }
        let ended = try fixture.vdit(["batch", "batch.yaml", "--dry-run"] + given)
        #expect(ended.status == 78 && ended.errors.contains("the table would replace the input"), "\(ended.errors)")
    }

    @Test func aTableIsMadeAnewByTheNextRun() throws {
        let fixture = try BatchFixture(
            BatchFixture.compared + "\ntable: table.md", output: "out/{job}-{seed}-{method}.mkv")
        let small = ["batch", "batch.yaml", "-q", "--set", "matrix.seed=[1]"]
        #expect(try fixture.vdit(small).status == 0)
        try FileManager.default.removeItem(atPath: fixture.folder.path("out"))
        let again = try fixture.vdit(small)
        #expect(again.status == 0, "\(again.errors)")
    }
}
