import VditAttention
import VditFiles
import VditModels
import VditTensor

/// One forward pass of a transformer on tensors from a file: what a `predict` command says.
public struct PredictJob: Sendable {
    /// A pipeline folder, or the folder or file of a transformer.
    public var model: String
    /// `latents` `[1, channels, frames, height, width]`, `timestep` `[1]` or `[1, tokens]`, `prompt_embeds`
    /// `[1, tokens, width]`; where the model takes them `prompt_attention_mask` `[1, tokens]`, `pooled_prompt_embeds`
    /// `[1, width]`, `image_embeds` `[1, tokens, width]`, `frame_rate` `[1]`, `guidance` `[1]`, 1000 times the scale.
    public var inputs: String
    /// Gets `sample`, f32 `[1, channels, frames, height, width]`.
    public var output: String
    public var existing = ExistingFile.refuse
    public var precision = Precision.bf16
    /// How blocks are kept between calls, of which there is one: other than packed it needs less memory.
    public var weights = LayerKeeping.packed
    public var threads = 1
    /// Whether the threads keep to memory nodes (`WorkerPlaces`).
    public var numa = false

    public init(model: String, inputs: String, output: String) {
        self.model = model
        self.inputs = inputs
        self.output = output
    }

    public struct Result: Sendable {
        /// Of the sample.
        public let shape: [Int]
        public let loadSeconds: Double
        public let predictSeconds: Double
        /// What a person should know: where the threads ran.
        public let notices: [String]
    }

    /// - Throws: an error that conforms to `Failure`: everything about files and shapes before any weight is
    ///   packed; `PipelineError.notFinite` for a prediction with NaN or infinities.
    public func run() throws -> Result {
        try FileRoles(reads: ["model": model, "inputs": inputs], makes: ["prediction": output]).check()
        try AtomicFile.checkStream(output, existing: existing)
        let pipeline = FilePath.exists("\(model)/transformer/config.json")
        let folder = pipeline ? "\(model)/transformer" : model
        let index = "\(model)/model_index.json"
        let whole = pipeline && FilePath.exists(index)
            ? try ConfigFile(path: index).stringIfPresent("_class_name") : nil
        let opened = try ModelCatalogue.openTransformer(folder, pipeline: whole)
        let (weights, specification) = (opened.weights, opened.specification)

        let file = try SafetensorsReader(inputs)
        let latents = try input(file, "latents", rank: 4, "channels, frames, height, width")
        let conditioning = try conditioning(file, specification.conditioning)
        let timesteps = try timesteps(file)

        let start = ContinuousClock.now
        var compute = try ComputeContext(threads: threads, numa: numa, precision: precision)
        compute.keeping = self.weights
        let transformer = try specification.load(weights, compute)
        try weights.verifyUnchanged()
        let loaded = ContinuousClock.now
        let prepared = try transformer.prepare(conditioning)
        let sample = try transformer.predict(
            latents, conditioning: prepared,
            ForwardPass(timesteps: timesteps) { call in
                blockSparseAttention(call, .dense(tokens: call.tokens), values: call.q.dtype)
            })
        let done = ContinuousClock.now
        try SafetensorsWriter.write(["sample": batched(sample)], to: output, existing: existing)
        if !sample.isFinite {
            throw PipelineError.notFinite(tensor: "the prediction", step: 0, steps: 1, layer: nil)
        }
        return Result(
            shape: [1] + sample.shape, loadSeconds: start.duration(to: loaded) / .seconds(1),
            predictSeconds: loaded.duration(to: done) / .seconds(1),
            notices: compute.notices)
    }

    /// What the transformer takes beside latents and time.
    private func conditioning(_ file: SafetensorsReader, _ needs: ConditioningNeeds) throws -> Conditioning {
        let prompt = try input(file, "prompt_embeds", rank: 2, "tokens, width")
        var conditioning = Conditioning(prompt: prompt)
        if needs.takesMask {
            let name = "prompt_attention_mask"
            let stored = try file.tensor(name)
            guard let mask = stored.promptMask(tokens: prompt.shape[0], mayBeEmpty: needs.takesEmptyPrompt) else {
                throw refuse(
                    name, "\(stored.dtype.rawValue) \(stored.shape)",
                    "[1, \(prompt.shape[0])] of 0 and 1, at least one of them 1")
            }
            conditioning.mask = mask
        }
        if needs.pooledWidth != nil {
            conditioning.pooled = try input(file, "pooled_prompt_embeds", rank: 1, "width")
        }
        if file.info("image_embeds") != nil {
            conditioning.image = try input(file, "image_embeds", rank: 2, "tokens, width")
        }
        if needs.takesFrameRate {
            conditioning.frameRate = try file.tensor("frame_rate").floats().first.map(Double.init)
        }
        if needs.takesGuidance {
            conditioning.guidance = try file.tensor("guidance").floats().first.map { Double($0) / 1000 }
        }
        return conditioning
    }

    /// A tensor without its batch axis of 1, f32.
    private func input(
        _ file: SafetensorsReader, _ name: String, rank: Int, _ axes: String
    ) throws -> Tensor {
        let stored = try file.tensor(name)
        let shape = stored.rank == rank + 1 && stored.shape[0] == 1 ? Array(stored.shape.dropFirst()) : stored.shape
        guard stored.dtype.isFloatingPoint, shape.count == rank, shape.allSatisfy({ $0 > 0 }) else {
            throw refuse(name, "\(stored.dtype.rawValue) \(stored.shape)", "floating point [1, \(axes)]")
        }
        let values = stored.converted(to: .f32).reshaped(shape)
        guard values.isFinite else { throw refuse(name, "NaN or infinity", "finite numbers") }
        return values
    }

    private func timesteps(_ file: SafetensorsReader) throws -> [Float] {
        let stored = try file.tensor("timestep")
        let isPerToken = stored.rank == 2 && stored.shape[0] == 1
        guard stored.rank <= 1 || isPerToken, stored.count > 0 else {
            throw refuse("timestep", "\(stored.shape)", "[1] or [1, tokens]")
        }
        let isFloatingPoint = stored.dtype.isFloatingPoint
        guard let values = isFloatingPoint ? stored.floats() : stored.wholeNumbers?.map(Float.init) else {
            throw refuse("timestep", stored.dtype.rawValue, "F32 or I64")
        }
        guard values.allSatisfy({ (0...10_000).contains($0) }) else {
            throw refuse("timestep", "a value out of range", "0 to 1000")
        }
        return values
    }

    private func refuse(_ name: String, _ found: String, _ expected: String) -> PipelineError {
        .invalid("\(inputs): \(name)", found: found, expected: expected, kind: .badData)
    }
}
