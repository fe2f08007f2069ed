import Foundation
import VditFiles
import VditMedia
import VditModels
import VditTensor

/// What a decode needs of a model on disk: a pipeline folder, or the folder of a VAE alone.
struct DecoderDirectory {
    let path: String
    let family: String
    let storedType: String
    let files: [RunRecord.ModelFile]
    /// Of videos whose latents name none.
    let frameRate: Int
    let vae: WanVAEConfig
    private let weights: WeightStore

    init(path: String) throws {
        let config = "\(path)/config.json"
        let hasIndex = FileManager.default.fileExists(atPath: "\(path)/model_index.json")
        if hasIndex || !FileManager.default.fileExists(atPath: config) {
            let model = try ModelDirectory(path: path)
            (self.path, family, frameRate) = (model.path, model.defaults.name, model.defaults.frameRate)
            (storedType, files) = (model.storedType, model.files)
            (vae, weights) = (model.vae, model.vaeWeights)
            return
        }
        self.path = path
        (family, frameRate) = ("wan-vae", 16)
        vae = try WanVAEConfig(ConfigFile(path: config))
        let store = try WeightStore(path)
        try store.check(vae.tensors)
        weights = store
        storedType = store.names.first.flatMap { store.info($0)?.dtypeName } ?? "unknown"
        files = RunRecord.ModelFile.of(store)
    }

    func decoder(_ compute: ComputeContext) throws -> WanVAE {
        try WanVAE(config: vae, weights: weights, compute: compute)
    }

    /// The size of the video that latents `[channels, frames, height, width]` give.
    func videoSize(latentShape shape: [Int]) -> (width: Int, height: Int, numFrames: Int) {
        (
            shape[3] * vae.spatialCompression, shape[2] * vae.spatialCompression,
            1 + (shape[1] - 1) * vae.temporalCompression
        )
    }
}
