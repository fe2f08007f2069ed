import Foundation
import TestSupport
import Testing
import VDiT

/// `vdit embed`: prompts as text, embeddings as files.
@Suite struct EmbedTests {
    @Test func anEmbeddingFileHoldsBothPromptsAndWhatMadeThem() throws {
        let model = try TinyTextModel(.umt5, pipeline: "WanPipeline")
        let made = try TemporaryDirectory()
        let out = made.path("cat.safetensors")
        let run = try CommandRun.run(["embed", "--model", model.path, "--prompt", "a “cat” 🐱", "-o", out])
        #expect(run.status == 0, "\(run.errors)")
        let file = try SafetensorsReader(out)
        #expect(file.info("prompt_embeds")?.shape == [1, 512, TinyTextModel.width])
        #expect(file.info("negative_prompt_embeds")?.shape == [1, 512, TinyTextModel.width])
        #expect(file.metadata["prompt"] == "a “cat” 🐱" && file.metadata["negative_prompt"] == "")
        #expect(file.metadata["format"] == "vdit-embedding-1" && file.metadata["max_sequence_length"] == "512")
        let read = try PromptEmbedding.read(
            out, needs: ConditioningNeeds(promptWidth: TinyTextModel.width))
        #expect(read.prompt.prompt == "a “cat” 🐱" && read.negative != nil)

        let again = try CommandRun.run(["embed", "--model", model.path, "--prompt", "x", "-o", out])
        #expect(again.status == 73 && again.errors.contains("exists already"))
        try model.folder.write("a “cat” 🐱\n", "prompt.txt")
        let fromFile = try CommandRun.run([
            "embed", "--model", model.path, "--prompt-file", model.folder.path("prompt.txt"), "--threads", "3", "-o",
            made.path("second.safetensors"),
        ])
        #expect(fromFile.status == 0, "\(fromFile.errors)")
        let second = try SafetensorsReader(made.path("second.safetensors"))
        for name in file.names { #expect(try second.tensor(name).floats() == file.tensor(name).floats()) }
    }

    @Test func idsArePrinted() throws {
        let model = try TinyTextModel(.bert)
        let run = try CommandRun.run([
            "embed", "--text-encoder", model.path, "--prompt", "A red ball", "--tokens",
        ])
        #expect(run.status == 0, "\(run.errors)")
        let found = try JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [String: Any]
        #expect(found?["ids"] as? [Int] == [101, 1037, 2417, 3608, 102] && found?["length"] as? Int == 32)
    }

    @Test func everyPromptHasAClearOutcome() throws {
        let model = try TinyTextModel(.umt5, pipeline: "WanPipeline")
        let made = try TemporaryDirectory()
        func embed(_ arguments: [String], script: String? = nil) throws -> CommandRun.Result {
            try CommandRun.run(
                ["embed", "--model", model.path, "--overwrite", "-o", made.path("out.safetensors")] + arguments,
                script: script)
        }
        let words = Array(repeating: "word", count: 10_000).joined(separator: " ")
        #expect(try embed(["--prompt", ""]).status == 0)
        #expect(try embed(["--prompt", "\u{fffd}"]).status == 0)
        let long = try embed(["--prompt", words])
        #expect(long.status == 0)
        #expect(long.errors.contains("the prompt is cut to 512 tokens; lost: \"word word"), "\(long.errors)")
        try model.folder.write("nul\0inside", "nul.txt")
        #expect(try embed(["--prompt-file", model.folder.path("nul.txt")]).status == 0)

        let bytes = try embed([], script: #"exec "$VDIT" "$@" --prompt "$(printf 'a\377b')""#)
        #expect(bytes.status == 64 && bytes.errors.contains("not UTF-8"), "\(bytes.errors)")
        try model.folder.write([0x61, 0xff], "bad.txt")
        let file = try embed(["--prompt-file", model.folder.path("bad.txt")])
        #expect(file.status == 65)
        #expect(file.errors.contains("bad.txt: content: found bytes that are not UTF-8"), "\(file.errors)")
        #expect(try embed(["--prompt-file", model.folder.path("none.txt")]).status == 66)
        #expect(try embed([]).status == 64)
        #expect(try embed(["--prompt", "a", "--prompt-file", "b"]).status == 64)
        #expect(try embed(["--prompt", "a", "--family", "sora"]).status == 64)

        let bare = try TemporaryDirectory()
        try TinyModel.write(to: bare)
        let without = try CommandRun.run([
            "embed", "--model", bare.path("model"), "--prompt", "a", "-o", model.folder.path("x.safetensors"),
        ])
        #expect(without.status == 66 && without.errors.contains("text encoder: found none in"), "\(without.errors)")
    }
}
