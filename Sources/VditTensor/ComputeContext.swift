import COneDNN

/// What computations run with: the threads, the instruction set, and the operand type of matrix products.
public struct ComputeContext: Sendable {
    public let pool: WorkPool
    public let instructionSet: InstructionSet
    public let precision: Precision

    public init(pool: WorkPool, instructionSet: InstructionSet, precision: Precision) {
        self.pool = pool
        self.instructionSet = instructionSet
        self.precision = precision
    }

    /// Threads and the best instruction set of this machine, or the one `VDIT_ISA` names.
    public init(threads: Int, precision: Precision) throws(TensorError) {
        let set = try InstructionSet.chosen()
        vdit_dnnl_limit(Int32(set.rawValue))
        self.init(pool: WorkPool(threads: threads), instructionSet: set, precision: precision)
    }

    /// The type operands are stored in. Where the CPU multiplies no bf16, bf16 weights are rounded to bf16
    /// and then kept as fp32, which is faster there than unpacking them in every product.
    public var operandType: DType {
        precision == .bf16 && instructionSet >= .avx512bf16 ? .bf16 : .f32
    }
}
