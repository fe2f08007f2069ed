/// Times a linear layer as the transformer runs it: chunks of rows on the pool's threads.
public struct LinearBenchmark: Sendable {
    public var rows: Int
    public var inputs: Int
    public var outputs: Int
    public var activation: Linear.Activation
    public var seed: UInt64

    public init(
        rows: Int, inputs: Int, outputs: Int, activation: Linear.Activation = .none, seed: UInt64 = 0
    ) {
        self.rows = rows
        self.inputs = inputs
        self.outputs = outputs
        self.activation = activation
        self.seed = seed
    }

    public struct Result: Sendable, Codable {
        public let rows: Int
        public let inputs: Int
        public let outputs: Int
        public let timing: Timing
        public let flops: Double
        public let teraflopsPerSecond: Double
        /// Relative RMS error of sampled values against float64 sums over the same operands.
        public let relativeError: Double
        /// What multiplied.
        public let implementation: String
    }

    /// - Parameter chunk: rows of one task.
    /// - Throws: `TensorError.library` if oneDNN refuses the shape.
    public func run(repeats: Int, chunk: Int, _ compute: ComputeContext) throws(TensorError) -> Result {
        let weights = RandomWeights([("w.weight", [outputs, inputs]), ("x.weight", [rows, inputs])], seed: seed)
        let w = try weights.tensor("w.weight")
        let x = try weights.tensor("x.weight").converted(to: compute.operandType)
        let layer = try Linear(
            weights: [w], biases: [], operand: compute.operandType, activation: activation,
            rounding: compute.precision, format: compute.weightFormat, on: compute.instructionSet)
        let y = Tensor(compute.operandType, [rows, outputs])
        let timing = try Timing(repeats: repeats) { () throws(TensorError) in
            try compute.pool.run((rows + chunk - 1) / chunk) { index, scratch throws(TensorError) in
                let range = index * chunk..<min(rows, (index + 1) * chunk)
                try layer(x.slice(range), into: y.slice(range), scratch)
            }
        }
        let flops = 2 * Double(rows) * Double(inputs) * Double(outputs)
        return Result(
            rows: rows, inputs: inputs, outputs: outputs, timing: timing, flops: flops,
            teraflopsPerSecond: flops / timing.medianSeconds / 1e12,
            relativeError: activation == .none ? error(of: y, x, w) : 0,
            implementation: layer.implementation)
    }

    private func error(of y: Tensor, _ x: Tensor, _ w: Tensor) -> Double {
        let columns = stride(from: 0, to: outputs, by: max(1, outputs / 16))
        var (difference, size) = (0.0, 0.0)
        for row in stride(from: 0, to: rows, by: max(1, rows / 16)) {
            let (found, input) = (y[row].floats(), x[row].floats())
            for column in columns {
                let weight = w[column].floats()
                var sum = 0.0
                for i in input.indices { sum += Double(input[i]) * Double(weight[i]) }
                difference += (Double(found[column]) - sum) * (Double(found[column]) - sum)
                size += sum * sum
            }
        }
        return (difference / size).squareRoot()
    }
}
