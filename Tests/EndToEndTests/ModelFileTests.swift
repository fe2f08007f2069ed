import Foundation
import TestSupport
import Testing
import VDiT

/// Models as people have them: a transformer's file and a VAE's, no folder around them.
@Suite struct ModelFileTests {
    let folder: TemporaryDirectory
    private let gguf = Golden.path("gguf/wan-q8_0/model.gguf")
    private let vae = Golden.path("single-file/wan21-vae-fp16/vae.safetensors")

    init() throws {
        folder = try TemporaryDirectory()
        var random = TorchRandom(seed: 8)
        try SafetensorsWriter.write(
            ["prompt_embeds": random.normal([1, 9, 64])], to: folder.path("prompt.safetensors"), existing: .refuse)
    }

    private func render(_ output: String, _ more: [String]) throws -> CommandRun.Result {
        try CommandRun.run(
            [
                "render", "--prompt-embedding", folder.path("prompt.safetensors"), "--size", "32x32", "--num-frames", "5",
                "--steps", "2", "--guidance-scale", "1", "--seed", "3", "--threads", "2", "-o", folder.path(output),
            ] + more)
    }

    private func video(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: folder.path(name))) }

    @Test func aRenderOfTwoFilesIsThatOfTheFolderTheyAreConvertedTo() throws {
        let files = try render("a.y4m", ["--model", gguf, "--vae", vae])
        #expect(files.status == 0, "\(files.errors)")
        #expect(files.errors.contains("assumed: unipc with flow shift 3"))
        let converted = try CommandRun.run([
            "convert", gguf, "--vae", vae, "--type", "f32", "-o", folder.path("model"),
        ])
        #expect(converted.status == 0, "\(converted.errors)")
        let whole = try render("b.y4m", ["--model", folder.path("model")])
        #expect(whole.status == 0, "\(whole.errors)")
        #expect(!whole.errors.contains("assumed"))
        #expect(try video("a.y4m") == video("b.y4m"))
        // The VAE of the folder gives way to another, and so does its transformer.
        let parts = try render("c.y4m", [
            "--model", folder.path("model"), "--transformer", gguf, "--vae", "\(folder.path("model"))/vae",
            "--scheduler-config", "\(folder.path("model"))/scheduler",
        ])
        #expect(parts.status == 0, "\(parts.errors)")
        #expect(try video("c.y4m") == video("a.y4m"))

        let record = try RunRecord(path: folder.path("a.y4m.json"))
        #expect(record.model.parts?.decoder == vae && record.model.path == gguf && record.model.dtype == "Q8_0")
        let again = try CommandRun.run(["render", "--from", folder.path("a.y4m.json"), "-o", folder.path("d.y4m")])
        #expect(again.status == 0, "\(again.errors)")
        #expect(try video("d.y4m") == video("a.y4m"))
    }

    @Test func blocksThatAreNotPackedMakeTheSameVideo() throws {
        let files = ["--model", gguf, "--vae", vae]
        #expect(try render("a.y4m", files).status == 0)
        let stored = try render("b.y4m", files + ["--weights", "as-stored"])
        #expect(stored.status == 0, "\(stored.errors)")
        #expect(try video("a.y4m") == video("b.y4m"))
        // So a video is what either makes, and a state what either goes on from; of blocks it is another.
        let same = try render("a.y4m", files + ["--weights", "as-stored", "--skip-existing"])
        #expect(same.status == 0, "\(same.errors)")
        let other = try render("a.y4m", files + ["--weights", "q8_0", "--skip-existing"])
        #expect(other.status == 78 && other.errors.contains("weights"), "\(other.errors)")
        let kept = try render("c.y4m", files + ["--weights", "q8_0"])
        #expect(kept.status == 0, "\(kept.errors)")
        let record = try RunRecord(path: folder.path("c.y4m.json"))
        #expect(record.sampling?.weights == .q8_0 && record.identity?["weights"] == "q8_0")
        let again = try CommandRun.run(["render", "--from", folder.path("c.y4m.json"), "-o", folder.path("d.y4m")])
        #expect(again.status == 0, "\(again.errors)")
        #expect(try video("c.y4m") == video("d.y4m"))
    }

    @Test func aPartThatIsMissingIsNamed() throws {
        let alone = try render("a.y4m", ["--model", gguf])
        #expect(alone.status == 66 && alone.errors.contains("--vae"), "\(alone.errors)")
        let none = try render("a.y4m", ["--vae", vae])
        #expect(none.status == 64 && none.errors.contains("--model"), "\(none.errors)")
        let swapped = try render("a.y4m", ["--model", vae, "--vae", gguf])
        #expect(swapped.status == 69, "\(swapped.errors)")
        let absent = try render("a.y4m", ["--model", gguf, "--vae", folder.path("none.safetensors")])
        #expect(absent.status == 66 && absent.errors.contains("none.safetensors"), "\(absent.errors)")
        let words = try CommandRun.run([
            "render", "--model", gguf, "--vae", vae, "--prompt", "a ball", "-o", folder.path("a.y4m"),
        ])
        #expect(words.status == 66 && words.errors.contains("--text-encoder"), "\(words.errors)")
    }

    @Test func pipelineFilesTakeParts() throws {
        let file = try folder.write(
            """
            version: 1
            defaults: {prompt_embedding: prompt.safetensors, size: 32x32, num_frames: 5, steps: 2, guidance_scale: 1, seed: 3}
            output: "{job}.y4m"
            jobs:
              - {name: parts, transformer: \(gguf), vae: \(vae)}
            """, "batch.yaml")
        let batch = try CommandRun.run(["batch", file])
        #expect(batch.status == 0, "\(batch.errors)")
        #expect(try render("a.y4m", ["--transformer", gguf, "--vae", vae]).status == 0)
        #expect(try video("parts.y4m") == video("a.y4m"))
    }

    @Test func inspectSaysWhatAFileIsAndWhatItLacks() throws {
        let transformer = try CommandRun.run(["inspect", gguf])
        #expect(transformer.status == 0, "\(transformer.errors)")
        for part in ["transformer of wan", "2 layers, 2 heads × 32", "Q8_0", "--vae"] {
            #expect(transformer.output.contains(part), "\(transformer.output)")
        }
        let decoder = try CommandRun.run(["inspect", vae])
        #expect(decoder.output.contains("VAE of wan") && decoder.output.contains("16 latent channels"))
        let encoder = try CommandRun.run(["inspect", Golden.path("single-file/umt5-original-bf16/model.gguf")])
        #expect(encoder.output.contains("text encoder umt5"), "\(encoder.output) \(encoder.errors)")
        let other = try CommandRun.run(["inspect", Golden.path("gguf/bad/architecture-language-model.gguf")])
        #expect(other.status == 69 && other.errors.contains("llama"), "\(other.errors)")
    }

    @Test func predictAndDecodeTakeFiles() throws {
        let io = try SafetensorsReader(Golden.path("gguf/wan-mixed/io.safetensors"))
        var inputs: [String: Tensor] = [:]
        for name in io.names where name.hasPrefix("input.") { inputs[String(name.dropFirst(6))] = try io.tensor(name) }
        try SafetensorsWriter.write(inputs, to: folder.path("in.safetensors"), existing: .refuse)
        let predicted = try CommandRun.run([
            "predict", "--model", Golden.path("gguf/wan-mixed/model.gguf"), "--inputs", folder.path("in.safetensors"),
            "--precision", "fp32", "-o", folder.path("out.safetensors"),
        ])
        #expect(predicted.status == 0, "\(predicted.errors)")
        let sample = try SafetensorsReader(folder.path("out.safetensors")).tensor("sample")
        #expect(Golden.difference(sample, try io.tensor("output.sample")).relative < 2e-5)
        try SafetensorsWriter.write(
            ["latents": io.tensor("input.latents")], to: folder.path("latents.safetensors"), existing: .refuse)
        let decoded = try CommandRun.run([
            "decode", "--latents", folder.path("latents.safetensors"), "--model", vae, "-o", folder.path("v.y4m"),
        ])
        #expect(decoded.status == 0, "\(decoded.errors)")
    }
}
