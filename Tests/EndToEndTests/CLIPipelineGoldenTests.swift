import Foundation
import TestSupport
import Testing
import VDiT

/// The command makes what diffusers makes, from a model folder to PNG files.
struct CLIPipelineGoldenTests {
    struct Sidecar: Decodable {
        struct Components: Decodable { let transformer: String, vae: String }
        struct Parameters: Decodable {
            let height: Int, width: Int, numFrames: Int, numInferenceSteps: Int, guidanceScale: Double, seed: Int
        }

        let components: Components
        let parameters: Parameters
    }

    @Test(arguments: ["wan21-t2v-euler-shift5-6steps", "wan21-t2v-unipc-shift3-6steps"])
    func framesOfATinyPipelineAreTheReferences(_ name: String) throws {
        let golden = Golden.path("pipelines/\(name)")
        let sidecar = try JSONDecoder.snakeCase.decode(Sidecar.self, from: bytes("\(golden)/io.json"))
        let folder = try TemporaryDirectory()
        let files = FileManager.default
        try files.createDirectory(atPath: folder.path("model/scheduler"), withIntermediateDirectories: true)
        for (part, source) in [("transformer", sidecar.components.transformer), ("vae", sidecar.components.vae)] {
            try files.createSymbolicLink(
                atPath: folder.path("model/\(part)"),
                withDestinationPath: Golden.path(String(source.drop { $0 == "." || $0 == "/" })))
        }
        try files.copyItem(
            atPath: "\(golden)/scheduler_config.json", toPath: folder.path("model/scheduler/scheduler_config.json"))
        try folder.write(#"{"_class_name": "WanPipeline"}"#, "model/model_index.json")
        let io = try SafetensorsReader("\(golden)/io.safetensors")
        try SafetensorsWriter.write(
            [
                "prompt_embeds": io.tensor("prompt_embeds"),
                "negative_prompt_embeds": io.tensor("negative_prompt_embeds"),
            ], to: folder.path("prompt.safetensors"), existing: .refuse)

        let wanted = sidecar.parameters
        let result = try CommandRun.run([
            "render", "--model", folder.path("model"), "--prompt-embedding", folder.path("prompt.safetensors"),
            "--size", "\(wanted.width)*\(wanted.height)", "--frames", "\(wanted.numFrames)",
            "--num-inference-steps", "\(wanted.numInferenceSteps)", "--cfg-scale", "\(wanted.guidanceScale)",
            "--seed=\(wanted.seed)", "--precision", "fp32", "--save-latents", folder.path("latents.safetensors"),
            "-o", folder.path("frame%03d.png"),
        ])
        #expect(result.status == 0, "\(result.errors)")

        let latents = try SafetensorsReader(folder.path("latents.safetensors")).tensor("latents")
        let last = try io.tensor("latents_after_step\(wanted.numInferenceSteps - 1)")
        let difference = Golden.difference(latents, last)
        #expect(difference.relative < 1e-3, "\(difference)")

        let expected = try io.tensor("frames_uint8_rounded")
        let first = folder.contents.first { $0.hasSuffix("0.png") } == "frame000.png" ? 0 : 1
        for frame in 0..<wanted.numFrames {
            let number = String(format: "%03d", frame + first)
            let pixels = try PNG.read(folder.path("frame\(number).png")).samples
            let worst = pixels.withBytes { found in
                expected[frame].withBytes { right in zip(found, right).map { abs(Int($0) - Int($1)) }.max() ?? 255 }
            }
            #expect(worst <= 1, "frame \(frame)")
        }
    }
}
