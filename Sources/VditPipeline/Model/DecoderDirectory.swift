import VditFiles
import VditMedia
import VditModels
import VditTensor

/// What a decode needs of a model on disk: a pipeline folder, or the folder or file of a VAE.
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
        let isFile = FilePath.exists(path) && !FilePath.isFolder(path)
        if path.isEmpty || FilePath.exists("\(path)/model_index.json")
            || !isFile && !FilePath.exists("\(path)/config.json")
        {
            let model = try ModelDirectory(path: path)
            let defaults = model.specification.defaults
            (self.path, family, frameRate) = (model.path, defaults.name, defaults.frameRate)
            (storedType, files) = (model.storedType, model.files)
            (specification, weights) = (model.specification.decoder, model.decoderWeights)
            return
        }
        self.path = path
        let opened = try ModelCatalogue.openDecoder(path)
        (specification, weights) = (opened.specification, opened.weights)
        family = specification.hasEncoder ? "\(opened.family.name)-vae" : "tiny-vae"
        frameRate = opened.family.frameRate
        storedType = weights.names.first.flatMap { [weights] in weights.info($0)?.dtypeName } ?? "unknown"
        files = RunRecord.ModelFile.of(weights)
    }

    func decoder(_ compute: ComputeContext) throws -> any VideoDecoder {
        let loaded = try compute.pool.asFirstWorker { try specification.load(weights, compute) }
        try weights.verifyUnchanged()
        return loaded
    }
}
