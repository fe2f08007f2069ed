import Synchronization
import VditAttention
import VditFiles
import VditTensor

/// A model as its configuration files state it, before any weight is read.
///
/// Everything that is checked, planned and estimated about a run is asked of this; the family it came from is not
/// asked again.
public struct ModelSpecification: Sendable {
    /// A transformer and the part of the sampler's loop it serves.
    public struct Transformer: Sendable {
        /// The folder of its files within the model, `transformer` or `transformer_2`.
        public let component: String
        public let specification: any TransformerSpecification
        /// Serves times from this fraction of the training timesteps up, as far as no earlier one does; 0 for the
        /// last.
        public let boundary: Double

        public init(component: String, specification: any TransformerSpecification, boundary: Double = 0) {
            self.component = component
            self.specification = specification
            self.boundary = boundary
        }
    }

    /// Name of the row of `ModelCatalogue`.
    public let family: String
    /// In the order they serve the sampler's loop, at least one.
    public let transformers: [Transformer]
    public let decoder: any DecoderSpecification
    public let defaults: ModelDefaults
    /// What the transformers predict, which decides the samplers that fit.
    public let prediction: Prediction
    /// The `_class_name` of the whole, where that is known.
    public let pipeline: String?
    private let sizes = KnownSizes()

    /// What a transformer's output means.
    public enum Prediction: String, Sendable {
        /// The velocity from clean latents to noise along a straight line.
        case flow
        /// The velocity between clean latents and noise along a circle, at any of a thousand levels.
        case velocity
    }

    /// - Throws: `ModelError.unsupported` for components that do not fit each other.
    public init(
        family: String, transformers: [Transformer], decoder: any DecoderSpecification, defaults: ModelDefaults,
        prediction: Prediction = .flow, pipeline: String? = nil
    ) throws(ModelError) {
        precondition(!transformers.isEmpty)
        self.family = family
        self.transformers = transformers
        self.decoder = decoder
        self.defaults = defaults
        self.prediction = prediction
        self.pipeline = pipeline
        for transformer in transformers {
            let own = transformer.specification
            let pictures = decoder.temporalCompression + decoder.latentChannels
            guard own.outputChannels == decoder.latentChannels, [0, pictures].contains(own.conditionChannels) else {
                throw .unsupported(
                    "a transformer of \(own.inputChannels) input channels with a VAE of \(decoder.latentChannels)",
                    found: "this pairing",
                    expected: "\(decoder.latentChannels) channels, or \(decoder.latentChannels + pictures) in a model "
                        + "that makes videos from pictures")
            }
            guard own.conditioning == self.transformer.conditioning,
                own.patchExtents == self.transformer.patchExtents
            else {
                throw .unsupported(
                    "the transformers", found: "two transformers of different text width or patch size",
                    expected: "two alike")
            }
        }
    }

    /// The first transformer, which the others are like in all that planning asks.
    public var transformer: any TransformerSpecification { transformers[0].specification }

    /// Pixels that height and width must be multiples of.
    public var pixelMultiple: Int {
        let patch = transformer.patchExtents
        return decoder.spatialCompression * max(patch.height, patch.width)
    }

    /// Counted once for each way to keep them, for all copies: it takes longer than the rest of a plan.
    public func weightSizes(_ precision: Precision, _ keeping: LayerKeeping = .packed) -> WeightSizes {
        sizes.of(precision, keeping) {
            WeightSizes(
                parameters: transformers.reduce(0) { $0 + $1.specification.parameterCount },
                bytes: transformers.map { $0.specification.weightBytes(precision, keeping) },
                decoderParameters: decoder.parameterCount)
        }
    }

    /// Parameters of all transformers.
    public var parameterCount: Int { weightSizes(.bf16).parameters }

    /// How much of weights a model has.
    public struct WeightSizes: Sendable {
        /// Of all transformers.
        public let parameters: Int
        /// Of each as it is kept.
        public let bytes: [Int]
        public let decoderParameters: Int
    }

    private final class KnownSizes: Sendable {
        private let known = Mutex<[Precision: [LayerKeeping: WeightSizes]]>([:])

        func of(_ precision: Precision, _ keeping: LayerKeeping, _ count: () -> WeightSizes) -> WeightSizes {
            if let sizes = known.withLock({ $0[precision]?[keeping] }) { return sizes }
            let sizes = count()
            known.withLock { $0[precision, default: [:]][keeping] = sizes }
            return sizes
        }
    }
}
