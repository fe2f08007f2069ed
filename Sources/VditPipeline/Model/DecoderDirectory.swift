import VditFiles
import VditMedia
import VditModels
import VditTensor

/// What a decode needs of a model on disk: a pipeline folder, or the folder of a VAE alone.
struct DecoderDirectory {
    let path: String
    /// The model's name, or what there is of it.
    let family: String
    let storedType: String
    let files: [RunRecord.ModelFile]
    /// Of videos whose latents name none.
    let frameRate: Int
    let specification: any DecoderSpecification
    private let weights: WeightStore

    init(path: String) throws {
        let config = "\(path)/config.json"
        if path.isEmpty || FilePath.exists("\(path)/model_index.json") || !FilePath.exists(config) {
            let model = try ModelDirectory(path: path)
            let defaults = model.specification.defaults
            (self.path, family, frameRate) = (model.path, defaults.name, defaults.frameRate)
            (storedType, files) = (model.storedType, model.files)
            (specification, weights) = (model.specification.decoder, model.decoderWeights)
            return
        }
        self.path = path
        let (read, row) = try ModelCatalogue.decoder(ConfigFile(path: config))
        (specification, family, frameRate) = (read, "\(row.name)-vae", row.frameRate)
        weights = try WeightStore(path)
        try weights.check(read.tensors)
        storedType = weights.names.first.flatMap { [weights] in weights.info($0)?.dtypeName } ?? "unknown"
        files = RunRecord.ModelFile.of(weights)
    }

    func decoder(_ compute: ComputeContext) throws -> any VideoDecoder {
        let loaded = try specification.load(weights, compute)
        try weights.verifyUnchanged()
        return loaded
    }
}
