import Foundation
import TestSupport
import Testing
import VDiT

/// Prompts in words, from the flag to the video and back.
@Suite struct PromptRenderTests {
    /// A model of the size of `TinyModel` with a text encoder of random weights.
    static func model(in folder: TemporaryDirectory) throws -> String {
        try TinyModel.write(to: folder)
        let model = folder.path("model")
        let text = try TinyTextModel(.umt5, width: 48)
        for part in ["text_encoder", "tokenizer"] {
            try FileManager.default.copyItem(atPath: text.folder.path(part), toPath: "\(model)/\(part)")
        }
        return model
    }

    static let size = ["--width", "32", "--height", "32", "--num-frames", "5", "--steps", "2", "--seed", "1"]

    static func latents(_ path: String) throws -> [Float] {
        let file = try SafetensorsReader(path)
        return try file.tensor(file.names[0]).floats()
    }

    @Test func wordsMakeTheVideoOfTheirEmbedding() throws {
        let folder = try TemporaryDirectory()
        let model = try Self.model(in: folder)
        func render(_ name: String, _ arguments: [String]) throws -> CommandRun.Result {
            try CommandRun.run(
                ["render", "--model", model, "-o", folder.path("\(name).gif"), "--save-latents", folder.path("\(name).s")]
                    + Self.size + arguments)
        }
        let embed = try CommandRun.run([
            "embed", "--model", model, "--prompt", "a cat", "--negative-prompt", "a dog", "-o",
            folder.path("cat.safetensors"),
        ])
        #expect(embed.status == 0, "\(embed.errors)")
        let file = try render("file", ["--prompt-embedding", folder.path("cat.safetensors")])
        #expect(file.status == 0, "\(file.errors)")
        let words = try render("words", ["--prompt", "a cat", "--negative-prompt", "a dog"])
        #expect(words.status == 0, "\(words.errors)")
        #expect(try Self.latents(folder.path("words.s")) == Self.latents(folder.path("file.s")))

        // The record has the words and the encoder; the embedding is the same.
        let record = try RunRecord(path: folder.path("words.gif.json"))
        let other = try RunRecord(path: folder.path("file.gif.json"))
        #expect(record.identity?["prompt_embedding"] == other.identity?["prompt_embedding"])
        #expect(record.identity?["negative_prompt_embedding"] == other.identity?["negative_prompt_embedding"])
        #expect(record.inputs.prompt == "a cat" && record.inputs.negativePrompt == "a dog")
        #expect(record.inputs.textEncoder?.path == "\(model)/text_encoder")
        #expect(record.inputs.promptEmbedding?.path == nil)
        let again = try CommandRun.run([
            "render", "--from", folder.path("words.gif.json"), "-o", folder.path("again.gif"), "--save-latents",
            folder.path("again.s"),
        ])
        #expect(again.status == 0, "\(again.errors)")
        #expect(try Self.latents(folder.path("again.s")) == Self.latents(folder.path("words.s")))
        // One file with both prompts is found again too.
        let both = try CommandRun.run([
            "render", "--from", folder.path("file.gif.json"), "-o", folder.path("both.gif"),
        ])
        #expect(both.status == 0, "\(both.errors)")
        // Other words, everything else as it was.
        let mouse = try CommandRun.run([
            "render", "--from", folder.path("words.gif.json"), "--prompt", "a mouse", "-o", folder.path("mouse.gif"),
        ])
        #expect(mouse.status == 0, "\(mouse.errors)")
        let changed = try RunRecord(path: folder.path("mouse.gif.json"))
        #expect(changed.inputs.prompt == "a mouse" && changed.inputs.negativePrompt == "a dog")

        // Another encoder is not the recorded one.
        let config = "\(model)/tokenizer/tokenizer.json"
        let text = try String(contentsOfFile: config, encoding: .utf8)
        try (text + " ").write(toFile: config, atomically: true, encoding: .utf8)
        let foreign = try CommandRun.run([
            "render", "--from", folder.path("words.gif.json"), "-o", folder.path("foreign.gif"),
        ])
        #expect(foreign.status == 78 && foreign.errors.contains("text encoder"), "\(foreign.errors)")
    }

    @Test func aStoppedRunOfWordsGoesOnAndADryRunEncodesNothing() throws {
        let folder = try TemporaryDirectory()
        let model = try Self.model(in: folder)
        let arguments = ["render", "--model", model, "--prompt", "a cat", "-o", folder.path("a.mkv")] + Self.size
        let dry = try CommandRun.run(arguments + ["--dry-run"])
        #expect(dry.status == 0 && !dry.errors.contains("encoding"), "\(dry.errors)")
        #expect(dry.output.contains("a cat"))
        let run = try CommandRun.run(arguments)
        #expect(run.status == 0 && run.errors.contains("encoding prompts"), "\(run.errors)")
        let there = try CommandRun.run(arguments + ["--skip-existing"])
        #expect(there.status == 0 && there.errors.contains("skipped"), "\(there.errors)")
        let other = try CommandRun.run(arguments + ["--skip-existing", "--negative-prompt", "a dog"])
        #expect(other.status == 78 && other.errors.contains("negative_prompt_embedding"), "\(other.errors)")
    }

    @Test func everyPromptHasAClearOutcome() throws {
        let folder = try TemporaryDirectory()
        let model = try Self.model(in: folder)
        func render(_ arguments: [String], model: String, script: String? = nil) throws -> CommandRun.Result {
            try CommandRun.run(
                ["render", "--model", model, "-o", folder.path("a.gif"), "--overwrite"] + Self.size
                    + ["--steps", "1", "--guidance-scale", "1"] + arguments, script: script)
        }
        #expect(try render(["--prompt", ""], model: model).status == 0)
        #expect(try render(["--prompt", "🐱👨‍👩‍👧‍👦"], model: model).status == 0)
        let words = Array(repeating: "word", count: 10_000).joined(separator: " ")
        let long = try render(["--prompt", words], model: model)
        #expect(long.status == 0)
        #expect(long.errors.contains("the prompt is cut to 512 tokens; lost: \"word word"), "\(long.errors)")
        try folder.write("nul\0inside", "nul.txt")
        #expect(try render(["--prompt-file", folder.path("nul.txt")], model: model).status == 0)
        try folder.write([0x61, 0xff], "bad.txt")
        let bad = try render(["--prompt-file", folder.path("bad.txt")], model: model)
        #expect(bad.status == 65 && bad.errors.contains("bad.txt: content: found bytes that are not UTF-8"))
        let bytes = try render([], model: model, script: #"exec "$VDIT" "$@" --prompt "$(printf 'a\377b')""#)
        #expect(bytes.status == 64 && bytes.errors.contains("not UTF-8"), "\(bytes.errors)")
        let two = try render(["--prompt", "a", "--prompt-embedding", "b.npy"], model: model)
        #expect(two.status == 64 && two.errors.contains("contradict each other"), "\(two.errors)")
        #expect(try render([], model: model).errors.contains("--prompt <text>"))

        // A checkpoint without encoder; another's serves it, unless it is of another width.
        let bare = try TemporaryDirectory()
        try TinyModel.write(to: bare)
        let without = try render(["--prompt", "a"], model: bare.path("model"))
        #expect(without.status == 66 && without.errors.contains("text encoder: found none in"), "\(without.errors)")
        #expect(try render(["--prompt", "a", "--text-encoder", model], model: bare.path("model")).status == 0)
        let sample = try render(["--prompt", "a", "--text-encoder", model], model: Golden.sample("wan-mini"))
        #expect(sample.status == 65 && sample.errors.contains("width: found 48"), "\(sample.errors)")
    }

    @Test func aBatchEncodesItsPromptsTogether() throws {
        let folder = try TemporaryDirectory()
        let model = try Self.model(in: folder)
        try folder.write("a bird\n", "bird.txt")
        try folder.write(
            """
            version: 1
            output: out/{job}-{prompt}.gif
            defaults: {model: model, prompt: a cat, width: 32, height: 32, num_frames: 5, steps: 1, guidance_scale: 1}
            jobs:
              - name: words
                matrix: {prompt: [a dog, "a cat"]}
              - name: file
                prompt_file: bird.txt
                negative_prompt: a cat
              - name: again
            """, "many.yaml")
        _ = model
        let path = folder.path("many.yaml")
        var layers: [Int] = []
        let book = PromptBook { done, _ in layers.append(done) }
        let plan = try BatchPlan(PipelineFile(path: path), book: book)
        #expect(layers.isEmpty)
        let run = try CommandRun.run(["batch", path])
        #expect(run.status == 0, "\(run.errors)")
        #expect(run.errors.components(separatedBy: "encoding prompts").count == 2, "\(run.errors)")
        let made = try FileManager.default.contentsOfDirectory(atPath: folder.path("out")).filter { $0.hasSuffix(".gif") }
        #expect(made.sorted() == ["again-a-cat.gif", "file-bird.gif", "words-a-cat.gif", "words-a-dog.gif"])
        #expect(try RunRecord(path: folder.path("out/file-bird.gif.json")).inputs.prompt == "a bird")
        // All there: nothing is encoded.
        let again = try CommandRun.run(["batch", path])
        #expect(again.status == 0 && !again.errors.contains("encoding prompts"), "\(again.errors)")
        #expect(Set(plan.jobs.map(\.fingerprint)).count == 4)

        try folder.write(
            """
            version: 1
            output: out/{job}.gif
            jobs: [{name: one, model: model, prompt: a cat, prompt_file: bird.txt}]
            """, "two.yaml")
        let two = try CommandRun.run(["batch", folder.path("two.yaml"), "--dry-run"])
        #expect(two.status == 78 && two.errors.contains("prompt says the same in another way"), "\(two.errors)")
    }

    @Test func methodsAreComparedOnWords() throws {
        let folder = try TemporaryDirectory()
        let model = try Self.model(in: folder)
        let arguments = [
            "compare", "--model", model, "--prompt", "a cat", "--prompt", "a dog", "--negative-prompt", "a bird",
            "--methods", "radial", "--sparse-option", "block=16", "--sparse-option", "dense-steps=0",
            "--width", "32", "--height", "32", "--num-frames", "9", "--steps", "2", "-o", folder.path("report"),
        ]
        let run = try CommandRun.run(arguments)
        #expect(run.status == 0, "\(run.errors)")
        #expect(run.errors.components(separatedBy: "encoding prompts").count == 2, "\(run.errors)")
        let again = try CommandRun.run(arguments)
        #expect(again.status == 0 && !again.errors.contains("encoding prompts"), "\(again.errors)")
        #expect(again.errors.contains("a-dog, seed 1, radial: finished already"), "\(again.errors)")
    }

    static let miniLM = Golden.sample("wan-mini/text_encoder/model.safetensors")

    @Test(
        .enabled(
            if: FileManager.default.fileExists(atPath: miniLM),
            "the sample model's text encoder is not here: scripts/setup --text-encoder"))
    func aPromptMakesTheLatentsOfTheShippedEmbedding() throws {
        let directory = try TemporaryDirectory()
        func latents(_ name: String, _ inputs: [String]) throws -> Tensor {
            let path = directory.path("\(name).latents.safetensors")
            let run = try CommandRun.run(
                [
                    "render", "--model", Golden.sample("wan-mini"), "--num-frames", "5", "--steps", "4", "--seed", "3",
                    "--precision", "fp32", "--no-sidecar", "--save-latents", path, "-o", directory.path("\(name).gif"),
                ] + inputs)
            #expect(run.status == 0, "\(run.errors)")
            let file = try SafetensorsReader(path)
            return try file.tensor(file.names[0])
        }
        let shipped = try latents("shipped", [
            "--prompt-embedding", Golden.sample("prompts/01-red-ball-right.safetensors"),
            "--negative-prompt-embedding", Golden.sample("prompts/empty.safetensors"),
        ])
        let ours = try latents("ours", ["--prompt", "a red ball moves from left to right over a dark blue background"])
        #expect(Golden.difference(ours, shipped).maximum < 1e-4)
    }
}
