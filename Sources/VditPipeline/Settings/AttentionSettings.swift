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
