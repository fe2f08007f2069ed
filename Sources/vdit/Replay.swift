import VDiT

/// A recorded render to be made again: what no flag says is as it was.
struct Replay {
    let path: String
    let record: RunRecord
    /// Everything the recorded latents depend on, by name.
    private let identity: [String: String]

    /// - Throws: 65 for a record that is none of a render.
    init(_ path: String) throws {
        self.path = path
        record = try RunRecord(path: path)
        guard record.sampling != nil, let identity = record.identity else {
            throw CommandError(
                description: "\(path): identity: found nothing, expected what a render depends on "
                    + "(the record of a decode, or of an older vdit)", kind: .badData)
        }
        self.identity = identity
    }

    /// Values as flags take them, by the name of the setting. Threads are of the machine, not of the video.
    ///
    /// - Parameters:
    ///   - anotherPrompt: whether a flag names a prompt, whose file may hold its own negative one.
    ///   - sampling: flags of the sampler; what goes with a value that they replace is not as it was.
    func settings(anotherPrompt: Bool, sampling: SamplingOptions) -> [String: String] {
        var settings = identity
        if ["few_step", "step_list", "sigmas"].contains(where: sampling.has) { settings["steps"] = nil }
        if sampling.has("few_step") {
            for name in ["guidance_scale", "guidance_scale_2", "scheduler", "flow_shift"] { settings[name] = nil }
        }
        if let kind = sampling.text("scheduler").flatMap(SchedulerConfiguration.Kind.init(rawValue:)), !kind.takesList {
            (settings["sigmas"], settings["timesteps"]) = (nil, nil)
        }
        // The identity has digests of these too.
        settings["lora"] = nil
        for (name, target) in Self.adapters {
            let own = (record.lora ?? []).filter { $0.target == target }
            if own.isEmpty { continue }
            settings[name] = AdapterList(own.map { AdapterChoice(path: $0.path, strength: $0.strength) }).written
        }
        // The identity has the spacing whatever the sampler; only unipc can be asked for one.
        if settings["scheduler"] != SchedulerConfiguration.Kind.unipc.rawValue { settings["sigma_spacing"] = nil }
        // A shift that grows with the video is the scheduler's own; one that is asked for takes its place.
        if settings["dynamic_shift"] != nil { settings["flow_shift"] = nil }
        settings["fps"] = record.output.fps
        // The identity has digests of these.
        settings["model"] = record.model.parts?.path ?? record.model.path
        for (setting, path) in record.model.parts?.parts ?? [] { settings[setting] = path }
        let (inputs, negative) = (record.inputs, record.inputs.negativePromptEmbedding?.path)
        settings["prompt_embedding"] = inputs.promptEmbedding?.path
        if inputs.promptEmbedding?.path == nil { settings["prompt"] = inputs.prompt }
        // One in the prompt's own file is found there.
        let isInFile = anotherPrompt || negative == inputs.promptEmbedding?.path
        settings["negative_prompt_embedding"] = isInFile ? nil : negative
        settings["negative_prompt"] = anotherPrompt ? nil : inputs.negativePrompt
        settings["text_encoder"] = inputs.textEncoder?.path
        settings["latents"] = record.inputs.latents
        settings["image"] = record.inputs.image
        settings["last_image"] = record.inputs.lastImage
        settings["video"] = record.inputs.video
        settings["sparse_table"] = record.attention?.table
        settings["cache_calibration"] = record.caching?.calibration
        if record.attention?.fallbackCalls ?? 0 > 0 {
            settings["sparse_fallback"] = AttentionContext.Fallback.dense.rawValue
        }
        return settings
    }

    private static let adapters: [(String, AdapterChoice.Target)] = [
        ("lora", .all), ("lora_high_noise", .highNoise), ("lora_low_noise", .lowNoise),
    ]

    /// Refuses files that are not those recorded.
    ///
    /// - Parameter given: names of the inputs that a flag named.
    /// - Throws: 78 naming the file.
    func check(_ renderer: Renderer, given: Set<String>) throws {
        let files = [
            ("model", renderer.model.path), ("prompt_embedding", renderer.job.prompt.embedding),
            ("negative_prompt_embedding", renderer.job.negativePrompt?.embedding), ("latents", renderer.job.latents),
            ("image", renderer.job.image), ("last_image", renderer.job.lastImage),
            ("video", renderer.settings.video),
            ("sparse_table", renderer.job.sparseTable), ("cache_calibration", renderer.job.cacheCalibration),
        ]
        if Self.adapters.allSatisfy({ !given.contains($0.0) }) {
            let names = renderer.job.adapters.map(\.path).joined(separator: ", ")
            try record.verify(renderer.identity, ["lora"], path: path, of: names.isEmpty ? nil : "lora \(names)")
        }
        var given = given
        if !given.isDisjoint(with: renderer.model.reference.parts.map(\.setting)) { given.insert("model") }
        if !given.contains("model") { try record.verify(files: renderer.model.files, path: path) }
        if !given.contains("text_encoder") { try record.verify(encoder: renderer.prompts.encoder, path: path) }
        for (name, file) in files where !given.contains(name) {
            // Embeddings of words follow from them, from the encoder and from the precision.
            if file == nil, record.inputs.textEncoder != nil, name.hasSuffix("prompt_embedding") { continue }
            try record.verify(renderer.identity, [name], path: path, of: file.map { "\(name) \($0)" })
        }
    }

    /// What may make the bytes differ although all settings are the same.
    func notices(_ renderer: Renderer) -> [String] {
        RunRecord.machineFields.sorted().compactMap { name in
            let (then, now) = (identity[name] ?? "none", renderer.identity[name] ?? "none")
            return then == now ? nil : "\(path) was made with \(name) \(then), this is \(now): the bytes may differ"
        }
    }
}
