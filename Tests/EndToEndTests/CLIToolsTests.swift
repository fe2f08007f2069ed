import Foundation
import TestSupport
import Testing
import VDiT
@testable import VditCommand

/// The commands beside `render`.
struct CLIToolsTests {
    @Test func decodeRemakesTheVideoFromItsLatentsWithoutBeingToldTheModel() throws {
        let folder = try TemporaryDirectory()
        let latents = folder.path("latents.safetensors")
        #expect(try CommandRun.run(smallRender(folder.path("a.y4m"), steps: 2, "--save-latents", latents)).status == 0)
        let again = try CommandRun.run(["decode", "--latents", latents, "-o", folder.path("b.y4m")])
        #expect(again.status == 0, "\(again.errors)")
        #expect(try bytes(folder.path("a.y4m")) == bytes(folder.path("b.y4m")))
    }

    @Test func decodeOfAVAEAloneWritesTheDecodersOwnFrames() throws {
        let folder = try TemporaryDirectory()
        let golden = Golden.path("pipelines/wan21-t2v-unipc-shift5-4steps-no-cfg/io.safetensors")
        let io = try SafetensorsReader(golden)
        try SafetensorsWriter.write(
            ["latents": io.tensor("latents_after_step3")], to: folder.path("in.safetensors"), existing: .refuse)
        let result = try CommandRun.run([
            "decode", "--latents", folder.path("in.safetensors"), "--model", Golden.path("wan-vae/wan21-base6"),
            "--precision", "fp32", "-o", folder.path("out.safetensors"),
        ])
        #expect(result.status == 0, "\(result.errors)")
        let frames = try SafetensorsReader(folder.path("out.safetensors")).tensor("frames")
        let expected = try io.tensor("video")
        #expect(frames.shape == Array(expected.shape.dropFirst()))
        let difference = Golden.difference(frames, expected.reshaped(frames.shape))
        #expect(difference.relative < 2e-5, "\(difference)")
    }

    @Test(arguments: ["t2v-2heads-dim64", "i2v-2heads-dim32-image-embeds", "ti2v-2heads-dim32-per-token-timestep"])
    func predictIsTheReferencesForwardPass(_ name: String) throws {
        let folder = try TemporaryDirectory()
        let model = Golden.path("wan-transformer/\(name)")
        let io = try SafetensorsReader("\(model)/io.safetensors")
        var inputs: [String: Tensor] = [:]
        for tensor in io.names where tensor.hasPrefix("input.") {
            inputs[String(tensor.dropFirst(6))] = try io.tensor(tensor)
        }
        try SafetensorsWriter.write(inputs, to: folder.path("in.safetensors"), existing: .refuse)
        func predict(_ output: String, _ more: String...) throws -> Tensor {
            let result = try CommandRun.run([
                "predict", "--model", model, "--inputs", folder.path("in.safetensors"), "--precision", "fp32", "-o",
                folder.path(output),
            ] + more)
            #expect(result.status == 0, "\(result.errors)")
            return try SafetensorsReader(folder.path(output)).tensor("sample")
        }
        let sample = try predict("out.safetensors")
        let difference = Golden.difference(sample, try io.tensor("output.sample"))
        #expect(difference.relative < 2e-5, "\(difference)")
        #expect(try predict("stored.safetensors", "--weights", "as-stored").floats() == sample.floats())
    }

    @Test func predictOfAPipelineFolderNamesTheInputThatIsWrong() throws {
        let folder = try TemporaryDirectory()
        let good = [
            "latents": Tensor(.f32, [1, 16, 2, 4, 4]), "timestep": Tensor([500]),
            "prompt_embeds": Tensor(.f32, [1, 32, 384]),
        ]
        func predict(_ changes: [String: Tensor?], _ output: String) throws -> CommandRun.Result {
            var tensors = good
            for (name, tensor) in changes { tensors[name] = tensor }
            try SafetensorsWriter.write(tensors, to: folder.path("in.safetensors"), existing: .replace)
            return try CommandRun.run([
                "predict", "--model", Golden.sample("wan-mini"), "--inputs", folder.path("in.safetensors"), "-o",
                folder.path(output),
            ])
        }
        #expect(try predict([:], "out.safetensors").status == 0)
        for (changes, text) in [
            (["latents": Tensor(.f32, [2, 16, 2, 4, 4])], "latents"),
            (["latents": Tensor(.f32, [1, 4, 2, 4, 4])], "latents"),
            (["latents": Tensor(.f32, [1, 16, 2, 3, 4])], "height"),
            (["latents": Tensor([Float](repeating: .nan, count: 512), shape: [1, 16, 2, 4, 4])], "NaN"),
            (["prompt_embeds": Tensor(.f32, [1, 32, 383])], "prompt"),
            (["prompt_embeds": Tensor(.f32, [1, 0, 384])], "prompt_embeds"),
            (["prompt_embeds": nil], "prompt_embeds"),
            (["timestep": Tensor([1, 2, 3])], "timestep"),
            (["timestep": Tensor([-5])], "timestep"),
            (["image_embeds": Tensor(.f32, [1, 3, 8])], "image"),
        ] as [([String: Tensor?], String)] {
            let result = try predict(changes, "bad.safetensors")
            #expect(result.status == 65, "\(changes.keys): \(result.errors)")
            #expect(result.lines.count == 1 && result.errors.contains(text), "\(result.errors)")
        }
        #expect(folder.contents == ["in.safetensors", "out.safetensors"])
    }

    @Test func inspectKnowsModelsComponentsEmbeddingsArraysAndVideos() throws {
        let folder = try TemporaryDirectory()
        #expect(try CommandRun.run(smallRender(folder.path("a.mp4"), steps: 1)).status == 0)
        try Npy.write(Tensor([1, 2, 3]), to: folder.path("a.npy"), existing: .refuse)
        for (path, key) in [
            (Golden.sample("wan-mini"), "tokens"), (Golden.sample("wan-mini/transformer"), "parameters"),
            (Golden.sample("wan-mini/vae"), "shape"), (Golden.sample("prompts/empty.safetensors"), "metadata"),
            (folder.path("a.npy"), "tensors"), (folder.path("a.mp4"), "codec"), (folder.path("a.mp4.json"), "sampling"),
        ] {
            let result = try CommandRun.run(["inspect", path, "--json"])
            #expect(result.status == 0, "\(path): \(result.errors)")
            let value = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
            #expect(value?[key] != nil, "\(path): \(result.output)")
            #expect(try CommandRun.run(["inspect", path]).status == 0)
        }
        let model = try CommandRun.run(["inspect", Golden.sample("wan-mini"), "--num-frames", "17"])
        #expect(model.output.contains("1200"))
        let info = try CommandRun.run(["info", folder.path("a.mp4"), "--json"])
        #expect(info.output.contains("\"steps\" : 1"))
        let short = try CommandRun.run(["info", folder.path("a.mp4")]).output
        #expect(short.contains("steps 1,") && short.contains("vdit render --from ") && short.count < 2000, "\(short)")
    }

    @Test func doctorReportsTheInstructionSetInUse() throws {
        let report = try CommandRun.run(["doctor", "--json"], environment: ["VDIT_ISA": "scalar"])
        #expect(report.status == 0)
        let machine = try JSONDecoder.snakeCase.decode(MachineReport.self, from: Data(report.output.utf8))
        #expect(machine.instructionSet == "scalar")
        #expect(machine.kernels == ["bf16": "scalar", "fp32": "scalar", "int8": "int8 scalar"])
        #expect(machine.threads >= 1 && machine.memoryBytes > 0)
        #expect(!machine.memoryNodes.isEmpty && machine.memoryNodes.allSatisfy { !$0.processors.isEmpty })
        #expect(machine.readBandwidth > 0 && machine.readBandwidthOfOne > 0)
        #expect(machine.codecs.count == VideoCodec.allCases.count)
        #expect(!machine.warnings.isEmpty)
        #expect(try CommandRun.run(["doctor"]).output.contains("FFmpeg"))
    }

    @Test func errorsAreJSONWhereMessagesAre() throws {
        let folder = try TemporaryDirectory()
        for arguments in [
            ["render", "--log-format", "json", "--heigth", "3"],
            ["render", "--log-format=json", "--model", folder.path("none"), "--prompt-embedding", "p", "-o", folder.path("a.y4m")],
        ] {
            let result = try CommandRun.run(arguments, environment: ["VDIT_NUM_FRAME": "5"])
            let events = try result.lines.map {
                try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
            }
            #expect(events.first?["event"] as? String == "notice" && result.errors.contains("did you mean VDIT_NUM_FRAMES"))
            #expect(events.last?["event"] as? String == "error")
            #expect(events.last?["status"] as? Int == Int(result.status), "\(result.errors)")
        }
    }

    @Test func everyLineOfABatchIsJSONWhereMessagesAre() throws {
        let folder = try TemporaryDirectory()
        let path = try folder.write("version: 1\nmodel: none\njobs: [{name: a, steps: 016}]\n", "bad.yaml")
        let result = try CommandRun.run(["batch", path, "--log-format", "json"])
        let events = try result.lines.map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any], "\($0)")
        }
        #expect(events.count > 2 && events.allSatisfy { $0["event"] as? String == "error" }, "\(result.errors)")
        #expect(events.last?["status"] as? Int == 78)
    }

    @Test func aNameCannotDriveATerminal() throws {
        let folder = try TemporaryDirectory()
        let name = "\u{1b}[31m\nred"
        let video = try CommandRun.run(smallRender(folder.path("\(name).y4m"), steps: 1))
        #expect(video.status == 0 && video.errors.contains("\\u{1b}[31m\\nred.y4m: 5 frames"), "\(video.errors)")
        let mask = try CommandRun.run([
            "mask", "--sparse", "radial", "--frames", "3", "--height", "4", "--width", "4", "-o", folder.path("\(name).png"),
        ])
        #expect(mask.status == 0 && mask.errors.contains("\\nred.png: 48 tokens"), "\(mask.errors)")
        let batch = try folder.write(
            "version: 1\noutput: \"\\e[31m{seed}.y4m\"\ndefaults: {model: \(Golden.sample("wan-mini")), prompt_embedding: "
                + "\(Golden.sample("prompts/empty.safetensors")), size: 96x64, num_frames: 5}\njobs: [{name: a}]\n", "batch.yaml")
        let plan = try CommandRun.run(["batch", batch, "--dry-run"])
        #expect(plan.status == 0 && plan.output.contains("\\u{1b}[31m0.y4m"), "\(plan.errors)")
        #expect(!(video.errors + mask.errors + plan.output).contains("\u{1b}"))
    }

    @Test(arguments: [["rendr"], ["bench", "atention"], ["batch", "sttus", "x.yaml"], ["batch", "retyr"]])
    func aSubcommandThatIsNearlyOneIsPointedOut(_ words: [String]) throws {
        let result = try CommandRun.run(words)
        #expect(result.status == 64 && result.lines.count == 1, "\(result.errors)")
        #expect(result.errors.contains("is no subcommand") && result.errors.contains("(did you mean "), "\(result.errors)")
    }

    /// The file of a batch may be called what it likes.
    @Test func aFileIsNoMisspeltSubcommand() throws {
        let folder = try TemporaryDirectory()
        try folder.write("version: 2\n", "statu")
        let result = try CommandRun.run(["batch", "statu"], script: "cd '\(folder.path)' && exec \"$VDIT\" \"$@\"")
        #expect(result.status == 78 && result.errors.contains("statu:1:"), "\(result.errors)")
    }

    @Test func aFileOfAnotherKindIsNamedWhole() throws {
        let folder = try TemporaryDirectory()
        let result = try CommandRun.run(["info", try folder.write("[]", "list.json")])
        #expect(result.status == 65 && result.errors.contains("list.json: content: found another type"), "\(result.errors)")
    }

    /// A terminal of 80 columns would break what is longer.
    @Test func helpTextsFitATerminal() {
        let commands = Vdit.configuration.subcommands
        let texts = [Vdit.configuration] + commands.map { $0.configuration }
            + commands.flatMap { $0.configuration.subcommands.map { $0.configuration } }
        for text in texts {
            let long = text.discussion.split(separator: "\n").filter { $0.count > 79 }
            #expect(long.isEmpty, "\(text.abstract): \(long)")
        }
    }

    @Test func aPromptCannotDriveATerminal() throws {
        let folder = try TemporaryDirectory()
        var random = TorchRandom(seed: 4)
        let prompt = folder.path("escape.safetensors")
        let stored = try SafetensorsReader(Golden.sample("prompts/empty.safetensors")).tensor("prompt_embeds")
        try SafetensorsWriter.write(
            ["prompt_embeds": random.normal(stored.shape)], metadata: ["prompt": "\u{1b}[2Jgone\nand more"], to: prompt,
            existing: .replace)
        let plan = try CommandRun.run([
            "render", "--model", Golden.sample("wan-mini"), "--prompt-embedding", prompt, "--size", "96x64",
            "--num-frames", "5", "--steps", "1", "-o", folder.path("b.y4m"), "--dry-run",
        ])
        #expect(plan.status == 0 && !plan.output.contains("\u{1b}") && plan.output.contains("gone\\nand more"))
        #expect(plan.output.contains("decoding") && plan.output.contains(" on this machine: loading "), "\(plan.output)")
    }

    @Test func helpAndVersionGoToStandardOutput() throws {
        for arguments in [
            ["--help"], ["help", "render"], ["--version"], ["methods"],
            ["render", "--help"], ["decode", "--help"], ["predict", "--help"], ["inspect", "--help"],
            ["doctor", "--help"], ["info", "--help"], ["methods", "--help"], ["bench", "--help"],
        ] {
            let result = try CommandRun.run(arguments)
            #expect(result.status == 0 && !result.output.isEmpty && result.errors.isEmpty, "\(arguments)")
            if arguments.last == "--help" { #expect(result.output.contains("  vdit "), "\(arguments): no example") }
        }
    }

    @Test func methodsListsEveryMethodOfTheCatalogue() throws {
        let output = try CommandRun.run(["methods"]).output
        for method in MethodCatalogue.methods { #expect(output.contains("\(method.name): ")) }
        let one = try CommandRun.run(["methods", "radial", "--json"])
        #expect(one.output.contains("arxiv") && !one.output.contains("rettention"))
    }

    @Test func benchmarksMeasureAndSayTheirError() throws {
        let attention = try CommandRun.run([
            "bench", "attention", "--heads", "2", "--tokens", "200", "--head-dim", "64", "--block", "64",
            "--block-density", "0.5", "--repeats", "1", "--json",
        ])
        #expect(attention.status == 0, "\(attention.errors)")
        let result = try JSONSerialization.jsonObject(with: Data(attention.output.utf8)) as? [String: Any]
        #expect(try #require(result?["relative_error"] as? Double) < 1e-2)
        let linear = try CommandRun.run([
            "bench", "linear", "--rows", "100", "--inputs", "64", "--outputs", "32", "--repeats", "1",
        ])
        #expect(linear.status == 0 && linear.output.contains("median"))
    }

    @Test func everyMethodHasARowOfTheSparseBenchmarkOrALineThatSaysWhyNot() throws {
        func bench(_ more: String...) throws -> CommandRun.Result {
            try CommandRun.run(
                ["bench", "sparse", "--heads", "1", "--tokens", "768", "--height", "8", "--width", "16"]
                    + ["--head-dim", "32", "--repeats", "1"] + more)
        }
        let result = try bench("--blocks", "none", "--density", "0.3")
        #expect(result.status == 0, "\(result.errors)")
        let lines = result.output.split(separator: "\n")
        for method in MethodCatalogue.methods where method.name != Dense.name {
            #expect(lines.filter { $0.hasPrefix("\(method.name) ") || $0.hasPrefix("\(method.name): ") }.count == 1)
        }
        #expect(lines.contains { $0.hasPrefix("radial: density 0.3: ") }, "out of its reach: \(result.output)")
        let masks = try bench("--blocks", "32", "--methods", "vsa")
        #expect(masks.output.contains("pooled") && masks.output.contains("dropped"), "\(masks.output)")
        #expect(try bench("--blocks", "64,x").status == 64)
    }
}

extension JSONDecoder {
    static var snakeCase: JSONDecoder {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return decoder
    }
}
