import VditTensor

/// A model's weights with adapters merged in, one tensor at a time as it is asked for.
///
/// A changed tensor comes as the fp32 sum, so that whoever packs it rounds once, to the type the weight has without an
/// adapter. The sum is a function of files, order and strengths alone.
/// - Source: Hu et al., "LoRA", arXiv 2106.09685: W' = W + s · (alpha / rank) · B A.
/// - Differs: norms, biases, tables and the patch embedding are changed too where a file says so; diffusers leaves
///   some of them out.
public struct AdaptedWeights: WeightSource {
    private let base: any WeightSource
    private let adapters: [(adapter: Adapter, strength: Double)]
    private let pool: WorkPool
    private let instructionSet: InstructionSet

    /// - Parameter adapters: added in this order. Strength 0 changes nothing.
    public init(
        _ base: any WeightSource, _ adapters: [(adapter: Adapter, strength: Double)], _ compute: ComputeContext
    ) {
        self.base = base
        self.adapters = adapters.filter { $0.strength != 0 }
        pool = compute.pool
        instructionSet = compute.instructionSet
    }

    public func contains(_ name: String) -> Bool { base.contains(name) }
    public func release(_ name: String) { base.release(name) }

    public func tensor(_ name: String) throws(TensorError) -> Tensor { try weight(name).tensor() }

    /// - Throws: what the base throws, and `TensorError.mismatch` for a sum that bf16 cannot hold.
    public func weight(_ name: String) throws(TensorError) -> StoredWeight {
        if adapters.allSatisfy({ $0.adapter.changes(of: name).isEmpty }) { return try base.weight(name) }
        let sum = try base.tensor(name).converted(to: .f32)
        for (adapter, strength) in adapters {
            for change in adapter.changes(of: name) {
                try add(change, of: adapter.file, strength, to: sum)
            }
        }
        if sum.converted(to: .bf16).firstNonFinite != nil {
            throw .mismatch(
                tensor: name, found: "a value beyond 3.39e38 after merging", expected: "weights bf16 can hold")
        }
        return .values(sum)
    }

    private func add(
        _ change: Adapter.Change, of file: AdapterFile, _ strength: Double, to sum: Tensor
    ) throws(TensorError) {
        switch change {
        case .product(let up, let down, let scale):
            if scale == 0 { return }
            let (up, down) = (try file.floats(up), try file.floats(down))
            let rank = down.shape[0]
            sum.addProduct(
                up: up.reshaped([up.shape[0], rank]), down: down.reshaped([rank, down.count / rank]),
                factor: Float(strength * scale), pool, instructionSet)
        case .difference(let key, let scale):
            let factor = Float(strength * scale)
            try file.floats(key).withFloats { difference in
                sum.withMutableFloats { values in
                    for index in values.indices { values[index] += factor * difference[index] }
                }
            }
        }
    }
}
