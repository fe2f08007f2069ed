import Foundation
import VDiT

/// A pipeline folder of the smallest golden components: 32x32 pixels and 5 frames take milliseconds.
public enum TinyModel {
    /// Writes the model and its prompts `a`, `b` and `empty` (`.safetensors`) into a folder.
    public static func write(to folder: TemporaryDirectory) throws {
        let files = FileManager.default
        try folder.write(
            #"{"_class_name": "WanPipeline", "transformer_2": [null, null]}"#, "model/model_index.json")
        for (part, source) in [
            ("transformer", "wan-transformer/t2v-2heads-dim64"), ("vae", "wan-vae/wan21-base4-1res-traced"),
        ] {
            try files.createDirectory(atPath: folder.path("model/\(part)"), withIntermediateDirectories: true)
            for name in ["config.json", "diffusion_pytorch_model.safetensors"] {
                try files.copyItem(
                    atPath: Golden.path("\(source)/\(name)"), toPath: folder.path("model/\(part)/\(name)"))
            }
        }
        try files.createDirectory(atPath: folder.path("model/scheduler"), withIntermediateDirectories: true)
        try files.copyItem(
            atPath: Golden.path("pipelines/wan21-t2v-unipc-shift3-6steps/scheduler_config.json"),
            toPath: folder.path("model/scheduler/scheduler_config.json"))
        for (index, name) in ["a", "b", "empty"].enumerated() {
            var random = TorchRandom(seed: UInt64(100 + index))
            try SafetensorsWriter.write(
                ["prompt_embeds": random.normal([1, 8, 48])], metadata: ["prompt": name],
                to: folder.path("\(name).safetensors"), existing: .replace)
        }
    }
}
