import VditTensor

extension Setting where Value == AttentionPrecision? {
    static var ofScores: Setting {
        Setting(
            "attention_precision", .attention,
            "operands of the scores of self-attention; as precision says when not given",
            flag: SettingFlag(
                "bf16|int8",
                "Scores of self-attention from bf16 or from 8-bit whole numbers. Default: bf16, or fp32 with --precision."),
            rule: Rule<Value>.builtIn(nil).shown { $0 != nil }.refused {
                $0.values.precision == .fp32 ? "none: precision fp32 is for reference" : nil
            })
    }
}

extension Setting where Value == String? {
    static var sparseTable: Setting {
        Setting(
            "sparse_table", .attention, "what 'vdit calibrate --sparse' wrote of the model", kind: .input,
            flag: SettingFlag("file.json", "Patterns for every head, as 'vdit calibrate --sparse' wrote them."),
            isVariable: false, effect: .latents, belongsTo: "sparse", at: .at(\.sparseTable))
    }

    /// What the method is chosen from; what is chosen is what a run is identified by.
    static var sparseResults: Setting {
        Setting(
            "sparse_results", .attention, "what a comparison measured of this model and size, for sparse: auto",
            kind: .input,
            flag: SettingFlag("results.json", "What 'vdit compare' measured of this model and size, for --sparse auto."),
            effect: .none, isRecorded: false, rule: Rule<Value>.builtIn(nil).shown { $0 != nil })
    }
}

extension Setting where Value == Double? {
    static var sparseQuality: Setting {
        Setting(
            "sparse_quality", .attention, "PSNR against dense that sparse: auto is to reach, in dB; 40 when not given",
            flag: SettingFlag(
                "dB", "PSNR against dense that --sparse auto is to reach. Default: 40.",
                names: ["quality", "sparse-quality"]),
            effect: .none, isRecorded: false, rule: Rule<Value>.builtIn(nil).shown { $0 != nil })
    }

    static var sparseSeconds: Setting {
        Setting(
            "sparse_seconds", .attention, "denoising time, as measured, within which sparse: auto takes the best",
            flag: SettingFlag("s", "Denoising time within which --sparse auto takes the best, in place of a quality."),
            effect: .none, isRecorded: false,
            rule: Rule<Value>.builtIn(nil).shown { $0 != nil }.checked { seconds, decision in
                if seconds != nil, decision.values.sparseQuality != nil {
                    throw PipelineError.setting("sparse_seconds", found: "a quality too", expected: "one of the two")
                }
            })
    }
}
