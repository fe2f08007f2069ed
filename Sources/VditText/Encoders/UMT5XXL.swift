import VditFiles

/// The text encoder of Wan as it was released: for one of random weights, to measure memory and time with.
public enum UMT5XXL {
    /// Its `config.json`.
    public static let configuration = """
        {"model_type": "umt5", "feed_forward_proj": "gated-gelu", "vocab_size": 256384, "d_model": 4096, "d_kv": 64, \
        "num_heads": 64, "d_ff": 10240, "num_layers": 24, "relative_attention_num_buckets": 32, \
        "relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-06, "eos_token_id": 1}

        """

    /// Names and shapes of its tensors.
    ///
    /// - Parameter file: `configuration`, written.
    public static func tensors(_ file: ConfigFile) throws(FileError) -> [(name: String, shape: [Int])] {
        T5WeightNames().expected(try T5EncoderConfig(file))
    }
}
