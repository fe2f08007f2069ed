import VditModels

extension Setting<String?> {
    /// What to show, in one of the ways a prompt is given.
    static func prompt(
        _ name: String, _ summary: String, kind: SettingKind = Value.kind, _ flag: SettingFlag,
        _ part: KeyPath<PromptSource, String?> & Sendable, _ make: @escaping @Sendable (String) -> PromptSource
    ) -> Setting {
        Setting(
            name, .inputs, summary, kind: kind, flag: flag, isVariable: false, effect: .latents,
            subject: SettingTable.promptSubject,
            at: .job(get: { $0.prompt[keyPath: part] }, set: { given, job in given.map { job.prompt = make($0) } }))
    }

    /// What not to show.
    static func negativePrompt(
        _ name: String, _ summary: String, kind: SettingKind = Value.kind, _ flag: SettingFlag,
        _ part: KeyPath<PromptSource, String?> & Sendable, _ make: @escaping @Sendable (String) -> PromptSource
    ) -> Setting {
        Setting(
            name, .inputs, summary, kind: kind, flag: flag, isVariable: false, effect: .latents,
            subject: "negative prompt",
            at: .job(
                get: { $0.negativePrompt?[keyPath: part] },
                set: { given, job in job.negativePrompt = given.map(make) }))
    }
}
