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
    /// - Parameter anotherPrompt: whether a flag names a prompt, whose file may hold its own negative one.
    func settings(anotherPrompt: Bool) -> [String: String] {
        var settings = identity
        // The identity has the spacing whatever the sampler; only unipc can be asked for one.
        if settings["scheduler"] != SchedulerConfiguration.Kind.unipc.rawValue { settings["sigma_spacing"] = nil }
        settings["fps"] = record.output.fps
        // The identity has digests of these.
        settings["model"] = record.model.path
        settings["prompt_embedding"] = record.inputs.promptEmbedding?.path
        settings["negative_prompt_embedding"] = anotherPrompt ? nil : record.inputs.negativePromptEmbedding?.path
        settings["latents"] = record.inputs.latents
        if record.attention?.fallbackCalls ?? 0 > 0 {
            settings["sparse_fallback"] = AttentionContext.Fallback.dense.rawValue
        }
        return settings
    }

    /// Refuses files that are not those recorded.
    ///
    /// - Parameter given: names of the inputs that a flag named.
    /// - Throws: 78 naming the file.
    func check(_ renderer: Renderer, given: Set<String>) throws {
        let files = [
            ("model", renderer.model.path), ("prompt_embedding", renderer.job.promptEmbedding),
            ("negative_prompt_embedding", renderer.job.negativePromptEmbedding), ("latents", renderer.job.latents),
        ]
        if !given.contains("model") { try record.verify(files: renderer.model.files, path: path) }
        for (name, file) in files where !given.contains(name) {
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
