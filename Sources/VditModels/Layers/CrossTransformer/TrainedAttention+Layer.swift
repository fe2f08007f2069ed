import VditAttention

extension TrainedAttention {
    /// The linear layer a block has it in, by its name there: that of FastVideo's checkpoints.
    public var layer: String {
        switch self {
        case .gates: "to_gate_compress"
        case .projections: "attn1.attn_impl.proj_l"
        }
    }

    /// Published checkpoints that have it.
    public var examples: String {
        switch self {
        case .gates: "FastWan 1.3B and 14B"
        case .projections: "TurboDiffusion's Wan 2.1"
        }
    }

    /// What it adds to a call, for every channel of every token: a layer of the rows; or sums over keys, their product
    /// with the queries, and a layer of a head's rows.
    func operations(width: Int, headDim: Int) -> Int {
        switch self {
        case .gates: 2 * width
        case .projections: 6 * headDim
        }
    }
}
