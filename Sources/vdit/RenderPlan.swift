import VDiT

/// What a render would do, as a dry run shows it.
struct RenderPlan: Encodable {
    struct Setting: Encodable {
        let name: String
        let value: String
        let origin: String
    }

    let model: String
    let prompt: String?
    let settings: [Setting]
    let output: String
    let codec: String?
    let pixelFormat: String
    let tokens: Int
    let transformerCalls: Int
    let flops: Double
    let attentionShare: Double
    let parameters: Int
    let peakMemoryBytes: Int
    let availableMemoryBytes: Int
    let availableMemorySource: String
    /// Of the denoising loop, by a short measurement; only a dry run makes it.
    let expectedSeconds: Double?
    let notices: [String]

    init(_ renderer: Renderer, expectedSeconds: Double? = nil) {
        self.expectedSeconds = expectedSeconds
        let estimate = renderer.estimate
        model = "\(renderer.model.path) (\(renderer.model.defaults.name))"
        prompt = renderer.prompts.prompt.prompt
        settings = renderer.settings.table.map {
            Setting(name: $0.name, value: $0.value, origin: $0.origin.rawValue)
        }
        output = renderer.video.path
        codec = renderer.video.codec?.rawValue
        pixelFormat = renderer.video.pixelFormat
        tokens = estimate.tokens
        transformerCalls = estimate.calls
        flops = estimate.totalFLOPs
        attentionShare = estimate.selfAttentionFLOPs / (estimate.selfAttentionFLOPs + estimate.otherFLOPs)
        parameters = estimate.parameters
        peakMemoryBytes = estimate.peakBytes
        availableMemoryBytes = renderer.memoryLimit.bytes
        availableMemorySource = renderer.memoryLimit.source
        notices = renderer.notices
    }

    var text: String {
        let share = Int((attentionShare * 100).rounded())
        var rows = [["model", model]]
        if let prompt { rows.append(["prompt", prompt]) }
        rows += settings.map { [$0.name, $0.value, "(\($0.origin))"] }
        rows += [
            ["output", ([output] + [codec, pixelFormat].compactMap { $0 }).joined(separator: " ")],
            ["parameters", Format.count(Double(parameters))],
            ["tokens", "\(tokens)"],
            ["work", "\(Format.count(flops))FLOP in \(transformerCalls) calls, \(share) % self-attention"],
            [
                "memory",
                "about \(Format.bytes(peakMemoryBytes)) of \(Format.bytes(availableMemoryBytes)) "
                    + "(\(availableMemorySource))",
            ],
        ]
        if let expectedSeconds {
            rows.append(["time", "about \(Format.seconds(expectedSeconds)) of denoising, then decoding"])
        }
        return Console.table(rows + notices.map { ["notice", $0] })
    }
}
