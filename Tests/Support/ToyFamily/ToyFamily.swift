import Foundation
import VDiT

/// A model family that shares nothing with another: six latent channels, 4 pixels and 2 frames per latent one, patches
/// of 1×2×2, text behind the video in self-attention with a mask, a pooled vector, the frame rate, and a VAE of one
/// matrix. It is made of a few matrices and plain loops, and knows nothing of any room above the models.
///
/// Whatever the toolkit does for one family, it must do for this one.
public enum ToyFamily {
    /// Makes the family known to the process.
    public static func register() { ModelCatalogue.add(family) }

    static let family = ModelFamily(
        name: "toy", pipelines: ["ToyPipeline"], transformerClass: "ToyTransformer", decoderClass: "ToyVAE",
        frameRate: 12,
        transformer: { (file, _) throws(FileError) in try ToyTransformerConfig(file) },
        decoder: { (file) throws(FileError) in try ToyVAEConfig(file) },
        defaults: { _, _, _ in defaults },
        published: { () throws(ModelError) in [try published()] })

    private static let defaults = ModelDefaults(
        name: "toy-mini", width: 32, height: 24, numFrames: 5, frameRate: 12, steps: 4, guidanceScale: 2, textLength: 6)

    /// The only model of the family.
    public static func published() throws(ModelError) -> PublishedModel {
        let config = ToyTransformerConfig()
        return PublishedModel(
            try ModelSpecification(
                family: "toy", transformers: [.init(component: "transformer", specification: config)],
                decoder: ToyVAEConfig(), defaults: defaults),
            index: [
                "_class_name": .text("ToyPipeline"), "transformer": .texts(["toy", "ToyTransformer"]),
                "vae": .texts(["toy", "ToyVAE"]),
            ],
            scheduler: [
                "_class_name": .text("FlowMatchEulerDiscreteScheduler"), "shift": .number(3),
                "num_train_timesteps": .integer(1000),
            ])
    }

    /// Writes the model and its prompts `a` (five valid tokens of six), `b` (three) and `empty` (one) into a folder.
    public static func write(to folder: TemporaryDirectory) throws {
        register()
        try RandomCheckpoint(published(), seed: 5).write(to: folder.path("model"))
        let needs = ToyTransformerConfig().conditioning
        for (index, (name, valid)) in [("a", 5), ("b", 3), ("empty", 1)].enumerated() {
            var random = TorchRandom(seed: UInt64(300 + index))
            let mask = Tensor((0..<6).map { $0 < valid ? 1 : 0 })
            try SafetensorsWriter.write(
                [
                    "prompt_embeds": random.normal([1, 6, needs.promptWidth]),
                    "prompt_attention_mask": mask.reshaped([1, 6]),
                    "pooled_prompt_embeds": random.normal([1, needs.pooledWidth ?? 0]),
                ], metadata: ["prompt": name], to: folder.path("\(name).safetensors"), existing: .replace)
        }
    }

    /// Writes what `vdit predict` runs the model on: two latent frames of 4×4, three valid tokens of six.
    public static func writeInputs(to path: String) throws {
        var random = TorchRandom(seed: 9)
        let needs = ["prompt_embeds": [1, 6, 12], "pooled_prompt_embeds": [1, 10], "latents": [1, 6, 2, 4, 4]]
        var inputs = needs.mapValues { random.normal($0) }
        inputs["timestep"] = Tensor([500])
        inputs["prompt_attention_mask"] = Tensor([1, 1, 1, 0, 0, 0], shape: [1, 6])
        inputs["frame_rate"] = Tensor([12])
        try SafetensorsWriter.write(inputs, to: path, existing: .refuse)
    }
}
