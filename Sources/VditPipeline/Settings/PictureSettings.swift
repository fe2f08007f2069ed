import VditModels

extension Setting<String?> {
    /// A picture that the model is shown.
    static func picture(
        _ name: String, _ summary: String, _ help: String, at path: WritableKeyPath<RenderJob, String?> & Sendable
    ) -> Setting {
        Setting(
            name, .inputs, summary, kind: .input, flag: SettingFlag("file", help), isVariable: false, effect: .latents,
            at: .at(path))
    }

    /// Of the latents by its frames and by the strength.
    static let video = Setting(
        "video", .inputs, "video to begin from: noise is mixed into it, as much as the strength says", kind: .input,
        flag: SettingFlag("file", "A video to begin from: as much noise as --strength says is mixed into it."),
        isVariable: false, effect: .none, isRecorded: false, rule: Rule<String?>.builtIn(nil).shown { $0 != nil })
}

extension Setting<Double?> {
    /// The share of a loop's steps, its last, that change a video.
    ///
    /// - Source: `WanVideoToVideoPipeline` of diffusers 0.42.1, whose default it has.
    static let strength = Setting(
        "strength", .inputs, "how much of the video is made anew: the share of the steps, above 0, at most 1",
        flag: SettingFlag("x", "How much of --video is made anew, above 0, at most 1. Default: 0.8."),
        belongsTo: "video",
        rule: Rule<Double?>(standard: { ($0.values.video == nil ? nil : 0.8, .builtIn, nil) })
            .refused { $0.values.video == nil ? "none without a video to begin from" : nil }
            .checked { strength, decision in
                guard let strength, let video = decision.values.video else { return }
                guard strength > 0, strength <= 1 else {
                    throw PipelineError.setting("strength", found: "\(strength)", expected: "above 0, at most 1")
                }
                let steps = decision.values.steps
                guard strength.share(of: steps) > 0 else {
                    throw PipelineError.setting(
                        "strength", found: "\(strength), which is none of \(steps) steps",
                        expected: "at least \(1 / Double(steps))")
                }
                guard !decision.sampler.switched(to: decision.values.scheduler).invertSigmas else {
                    throw PipelineError.setting(
                        "video", found: video, expected: "none: this model's noise levels run from 0 to 1")
                }
            }.shown { $0 != nil })
}

extension Double {
    /// As many of `steps` as this strength leaves to be done.
    func share(of steps: Int) -> Int { min(Int(Double(steps) * self), steps) }
}
