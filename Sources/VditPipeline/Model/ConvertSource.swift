import VditFiles
import VditModels
import VditTensor

extension ConvertJob {
    /// What is converted, opened.
    struct Source {
        /// Weights as they are to be written, and what they are of.
        struct Part {
            /// Within a pipeline folder; nil for a component alone.
            let folder: String?
            let title: String
            let configuration: [String: ConfigurationValue]
            let tensors: [(name: String, shape: [Int])]
            let weights: Weights
        }

        /// A component's weights with what is merged into them.
        struct Weights {
            let base: WeightStore
            let merged: any WeightSource

            /// A tensor, which is not asked for again.
            func taken(_ name: String) throws(TensorError) -> Tensor {
                defer { merged.release(name) }
                return try merged.tensor(name)
            }

            func stored(_ name: String) -> TensorInfo? { base.info(name) }
        }

        let family: ModelFamily
        let parts: [Part]
        /// Of a pipeline folder, by name.
        var files: [String: [UInt8]] = [:]

        /// - Parameter transformerOnly: whether only a transformer can be written.
        static func open(
            _ model: ModelReference, _ adapters: [AdapterChoice], _ compute: ComputeContext, transformerOnly: Bool
        ) throws -> Source {
            let isWhole = try model.isWholeModel()
            return transformerOnly || !isWhole
                ? try component(model, adapters, compute, transformerOnly: transformerOnly)
                : try whole(model, adapters, compute)
        }

        private static func whole(
            _ model: ModelReference, _ adapters: [AdapterChoice], _ compute: ComputeContext
        ) throws -> Source {
            let directory = try ModelDirectory(model).adapted(by: adapters)
            let specification = directory.specification
            guard specification.decoder.hasEncoder else {
                throw PipelineError.invalid(
                    directory.decoderPath, found: "a tiny VAE", expected: "the model's own: a tiny one stays a file",
                    kind: .usage)
            }
            var parts: [Part] = []
            for (index, transformer) in specification.transformers.enumerated() {
                let base = directory.transformerWeights[index]
                parts.append(
                    Part(
                        transformer.specification, in: transformer.component, "transformer",
                        Weights(
                            base: base,
                            merged: directory.adapters.weights(base, ofTransformer: index, compute))))
            }
            let weights = Weights(base: directory.decoderWeights, merged: directory.decoderWeights)
            parts.append(
                Part(
                    folder: "vae", title: "VAE", configuration: specification.decoder.configuration,
                    tensors: specification.decoder.tensors, weights: weights))
            return Source(
                family: directory.family, parts: parts,
                files: [
                    "model_index.json": try configurationJSON(directory.index),
                    "scheduler/scheduler_config.json": directory.schedulerFile,
                ])
        }

        /// A transformer, or a VAE, alone.
        private static func component(
            _ model: ModelReference, _ adapters: [AdapterChoice], _ compute: ComputeContext, transformerOnly: Bool
        ) throws -> Source {
            let own = FilePath.isFolder("\(model.path)/transformer") ? "\(model.path)/transformer" : model.path
            let path = model.transformer ?? own
            do {
                let opened = try ModelCatalogue.openTransformer(path)
                let set = try AdapterSet(adapters, names: opened.specification.adapterNames, transformers: 1)
                let weights = Weights(
                    base: opened.weights, merged: set.weights(opened.weights, ofTransformer: 0, compute))
                return Source(
                    family: opened.family, parts: [Part(opened.specification, in: nil, "transformer", weights)])
            } catch {
                guard !transformerOnly, adapters.isEmpty, let opened = try? ModelCatalogue.openDecoder(path) else {
                    throw error
                }
                let part = Part(
                    folder: nil, title: "VAE", configuration: opened.specification.configuration,
                    tensors: opened.specification.tensors,
                    weights: Weights(base: opened.weights, merged: opened.weights))
                return Source(family: opened.family, parts: [part])
            }
        }
    }
}

extension ConvertJob.Source.Part {
    fileprivate init(
        _ specification: any TransformerSpecification, in folder: String?, _ title: String,
        _ weights: ConvertJob.Source.Weights
    ) {
        self.init(
            folder: folder, title: title, configuration: specification.configuration,
            tensors: specification.tensors, weights: weights)
    }
}

extension ModelReference {
    /// Whether there is more than one component to it.
    fileprivate func isWholeModel() throws -> Bool {
        if FilePath.isFolder(path) { return FilePath.exists("\(path)/model_index.json") }
        return try decoder != nil || !path.isEmpty && FilePath.exists(path) && ModelCatalogue.holdsDecoder(path)
    }
}
