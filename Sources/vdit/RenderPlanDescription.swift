import VDiT

/// What a render would do, as a dry run shows it.
struct RenderPlanDescription: Encodable {
    struct Setting: Encodable {
        let name: String
        let value: String
        let origin: String
    }

    let model: String
    /// What takes the place of the model's own, by the setting's name; nil for nothing.
    let parts: [String: String]?
    let prompt: String?
    let settings: [Setting]
    let output: String
    let codec: String?
    let pixelFormat: String
    let tokens: Int
    let transformerCalls: Int
    /// Those of them that a step cache computes; at most that, where it decides while it runs.
    let computedCalls: Double
    /// Of the whole run with decoding; at most that, where the method decides while it runs.
    let flops: Double
    let isUpperBound: Bool
    let decodeFlops: Double
    /// Token pairs computed over those of dense attention.
    let attentionWork: Double
    /// Self-attention's part of all work.
    let attentionShare: Double
    let parameters: Int
    let peakMemoryBytes: Int
    let availableMemoryBytes: Int
    let availableMemorySource: String
    /// By a short measurement; only a dry run makes it.
    let expected: Expected?
    let notices: [String]

    /// Seconds.
    struct Expected: Encodable {
        let loading, denoising, decoding, least, most: Double

        init(_ time: ExpectedTime) {
            (loading, denoising, decoding) = (time.loading, time.denoising, time.decoding)
            (least, most) = (time.range.lowerBound, time.range.upperBound)
        }
    }

    init(_ renderer: Renderer, expected: ExpectedTime? = nil) {
        self.expected = expected.map(Expected.init)
        let estimate = renderer.estimate
        model = "\(renderer.model.path) (\(renderer.plan.model.defaults.name))"
        let given = renderer.model.reference.parts.compactMap { part in part.path.map { (part.setting, $0) } }
        parts = given.isEmpty ? nil : Dictionary(uniqueKeysWithValues: given)
        prompt = renderer.prompts.prompt.prompt
        settings = renderer.settings.table.map {
            Setting(name: $0.name, value: $0.value, origin: $0.origin.rawValue)
        }
        output = renderer.video.path
        codec = renderer.video.codec?.rawValue
        pixelFormat = renderer.video.pixelFormat
        tokens = estimate.tokens
        transformerCalls = estimate.calls
        computedCalls = estimate.computedCalls
        flops = estimate.totalFLOPs
        isUpperBound = estimate.isUpperBound
        decodeFlops = estimate.decodeFLOPs
        attentionWork = estimate.attention.share
        attentionShare =
            estimate.callFLOPs(attentionWork: estimate.attention.share, otherWork: 0) * Double(estimate.calls)
            / estimate.totalFLOPs
        parameters = estimate.parameters
        peakMemoryBytes = estimate.peakBytes
        availableMemoryBytes = renderer.memoryLimit.bytes
        availableMemorySource = renderer.memoryLimit.source
        notices = renderer.notices
    }

    /// The share of the calls that a step cache computes, in words; nil for all.
    private var keptCalls: String? {
        computedCalls < Double(transformerCalls) ? Format.percent(computedCalls / Double(transformerCalls)) : nil
    }

    var text: String {
        let limit = isUpperBound ? "at most " : ""
        let share = Int((attentionShare * 100).rounded())
        var rows = [["model", model]]
        rows += (parts ?? [:]).sorted { $0.key < $1.key }.map { [$0.key, $0.value] }
        if let prompt { rows.append(["prompt", prompt]) }
        rows += settings.map { [$0.name, $0.value, "(\($0.origin))"] }
        rows += [
            ["output", ([output] + [codec, pixelFormat].compactMap { $0 }).joined(separator: " ")],
            ["parameters", Format.count(Double(parameters))],
            ["tokens", "\(tokens)"],
            [
                "work",
                "\(limit)\(Format.count(flops))FLOP in \(transformerCalls) calls, \(share) % self-attention, "
                    + "\(Format.percent(decodeFlops / flops)) decoding",
            ],
            [
                "memory",
                "about \(Bytes.text(peakMemoryBytes)) of \(Bytes.text(availableMemoryBytes)) "
                    + "(\(availableMemorySource))",
            ],
        ]
        if let kept = keptCalls { rows.append(["step cache", "\(limit)\(kept) of the calls computed"]) }
        if attentionWork < 1 {
            rows.append(["attention", "\(limit)\(Format.fraction(attentionWork)) of dense attention's work"])
        }
        if let expected {
            rows.append([
                "time",
                "\(limit)\(Format.range(expected.least, expected.most)) on this machine: loading "
                    + "\(Format.about(expected.loading)), denoising \(Format.about(expected.denoising)), decoding "
                    + Format.about(expected.decoding),
            ])
        }
        return Console.table(rows + notices.map { ["notice", $0] })
    }
}
