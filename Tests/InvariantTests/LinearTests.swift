import Testing
import VDiT

/// A linear layer keeps and multiplies its weights as its types say, whatever source they come from.
@Suite struct LinearTests {
    static let source = RandomWeights([("w.weight", [48, 64]), ("x.weight", [5, 64])], seed: 1)

    static func output(_ layer: Linear) throws -> [Float] {
        let y = Tensor(layer.resultType, [5, 48])
        try layer(source.tensor("x.weight").converted(to: layer.operandType), into: y, Scratch())
        return y.floats()
    }

    @Test(arguments: InstructionSet.supported, Precision.allCases)
    func theTypesAndTheProcessorDecideWhatMultiplies(_ set: InstructionSet, _ precision: Precision) throws {
        let compute = ComputeContext(pool: WorkPool(threads: 1), instructionSet: set, precision: precision)
        let layer = try Linear(
            weights: [Self.source.tensor("w.weight")], biases: [], operand: compute.operandType,
            rounding: precision, format: compute.weightFormat, on: set)
        if precision == .int8 {
            #expect(layer.implementation.hasPrefix("int8 ") && layer.operandType == compute.operandType)
            #expect((48 * 64...2 * 48 * 64).contains(layer.byteCount))
            return
        }
        let multipliesBF16 = precision == .bf16 && set >= .avx512bf16
        let tiles = multipliesBF16 && set >= .amx
        #expect(layer.implementation == (tiles ? "AMX bf16" : multipliesBF16 ? "oneDNN bf16" : "oneDNN f32"))
        #expect(layer.byteCount >= 48 * 64 * (multipliesBF16 ? 2 : 4))
    }

    @Test func typesThatNothingMultipliesAreAnError() throws {
        let weights = [try Self.source.tensor("w.weight")]
        let set = try InstructionSet.chosen()
        #expect(throws: TensorError.self) {
            try Linear(weights: weights, biases: [], operand: .f32, format: .bf16, on: set)
        }
    }

    /// Adds a small difference to another source's tensors, as an adapter does.
    struct Merged: WeightSource {
        let base: RandomWeights
        func contains(_ name: String) -> Bool { base.contains(name) }
        func tensor(_ name: String) throws(TensorError) -> Tensor {
            let sum = try base.tensor(name).converted(to: .f32)
            sum.withMutableFloats { values in
                for i in values.indices { values[i] += 1e-4 * Float(i % 7) }
            }
            return sum
        }
        func release(_ name: String) { base.release(name) }
    }

    @Test(arguments: InstructionSet.supported)
    func weightsASourceComputedAreRoundedOnce(_ set: InstructionSet) throws {
        let compute = ComputeContext(pool: WorkPool(threads: 1), instructionSet: set, precision: .bf16)
        func layer(_ weights: Tensor, _ rounding: Precision) throws -> Linear {
            try Linear(
                weights: [weights], biases: [], operand: compute.operandType, result: .f32,
                rounding: rounding, format: compute.weightFormat, on: set)
        }
        let merged = try Merged(base: Self.source).tensor("w.weight")
        let found = try Self.output(layer(merged, .bf16))
        #expect(try found == Self.output(layer(merged.converted(to: .bf16), .fp32)))
        #expect(try found != Self.output(layer(Self.source.tensor("w.weight"), .bf16)))
    }
}
