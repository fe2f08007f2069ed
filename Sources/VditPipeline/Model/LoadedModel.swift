import VditMedia
import VditModels
import VditTensor

/// A model's packed weights and the threads they run on, kept from one video to the next.
///
/// What is loaded first when it is asked for stays until it is dropped; of several transformers only the last one that
/// was asked for, unless all are to be kept.
public final class LoadedModel {
    public let model: ModelDirectory
    let compute: ComputeContext
    /// Whether a transformer stays when another one is asked for.
    var keepsAllTransformers = false
    private var transformers: [Int: any VideoModel] = [:]
    private var packedDecoder: (any VideoDecoder)?

    /// Loads nothing yet.
    public init(_ model: ModelDirectory, _ plan: RenderPlan) throws {
        self.model = model
        var compute = try ComputeContext(
            threads: plan.settings.threads, numa: plan.settings.numa, precision: plan.settings.precision)
        compute.keeping = plan.keeping
        self.compute = compute
    }

    /// Whether it computes what a run of this plan would.
    public func serves(_ plan: RenderPlan) -> Bool {
        compute.pool.threads == plan.settings.threads && (compute.pool.places != nil) == plan.settings.numa
            && compute.precision == plan.settings.precision && compute.keeping == plan.keeping
    }

    /// What the loaded parts take, about.
    public var heldBytes: Int {
        let (keeping, precision) = (compute.keeping, compute.precision)
        let parts = model.specification.transformers
        return transformers.keys.reduce(0) { $0 + parts[$1].specification.weightBytes(precision, keeping) }
            + (packedDecoder == nil ? 0 : model.specification.decoder.parameterCount * 4)
    }

    func transformer(_ index: Int) throws -> any VideoModel {
        if !keepsAllTransformers { transformers = transformers.filter { $0.key == index } }
        if let loaded = transformers[index] { return loaded }
        let weights = model.transformerWeights[index]
        let loaded = try model.specification.transformers[index].specification.load(
            model.adapters.weights(weights, ofTransformer: index, compute), compute)
        try weights.verifyUnchanged()
        try model.adapters.verifyUnchanged()
        transformers[index] = loaded
        return loaded
    }

    func decoder() throws -> any VideoDecoder {
        if let packedDecoder { return packedDecoder }
        let loaded = try compute.pool.asFirstWorker {
            try model.specification.decoder.load(model.decoderWeights, compute)
        }
        try model.decoderWeights.verifyUnchanged()
        packedDecoder = loaded
        return loaded
    }

    /// What the model's image encoder makes of pictures as they came; see `ImageEncoder`.
    func imageTokens(_ pictures: [VideoFrame]) throws -> Tensor {
        guard let encoder = model.imageEncoder else {
            throw PipelineError.unsupported(
                model.path, found: "a model without its image encoder", expected: "image_encoder/ in its folder")
        }
        return try encoder.tokens(pictures, compute)
    }

    /// What makes latents of pictures and videos; it is not kept.
    func encoder() throws -> any VideoEncoder {
        guard let encoder = try model.specification.decoder.loadEncoder(model.decoderWeights, compute) else {
            preconditionFailure("the model takes pictures, its VAE none")
        }
        return encoder
    }

    func dropTransformers() { transformers = [:] }
    func dropDecoder() { packedDecoder = nil }
}
