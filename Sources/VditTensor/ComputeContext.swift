/// What computations run with: the threads, the instruction set, and the operand type of matrix products.
public struct ComputeContext: Sendable {
    public let pool: WorkPool
    public let instructionSet: InstructionSet
    public let precision: Precision
    /// How transformers keep their blocks.
    public var keeping = LayerKeeping.packed

    /// The kernels of `instructionSet`, which may be another than the process's.
    public init(pool: WorkPool, instructionSet: InstructionSet, precision: Precision) {
        limitNumericLibraries()
        self.pool = pool
        self.instructionSet = instructionSet
        self.precision = precision
    }

    /// Threads and the best instruction set of this machine, or the one `VDIT_ISA` names.
    ///
    /// - Parameter numa: whether threads and memory are laid out over the machine's memory nodes (`WorkerPlaces`).
    public init(threads: Int, numa: Bool = false, precision: Precision) throws(TensorError) {
        self.init(
            pool: WorkPool(threads: threads, places: numa ? WorkerPlaces(workers: threads) : nil),
            instructionSet: try .chosen(), precision: precision)
    }

    /// What a person should know of the threads.
    public var notices: [String] { [pool.places?.description].compactMap { $0 } }

    /// The type operands are stored in. Where the CPU multiplies no bf16, bf16 weights are rounded to bf16
    /// and then kept as fp32, which is faster there than unpacking them in every product.
    public var operandType: DType { instructionSet.operandType(of: precision.dtype) }

    /// How layers of a precision keep their weights: as they are multiplied.
    public func weightFormat(of precision: Precision) -> WeightFormat {
        precision == .int8 ? .int8 : WeightFormat(instructionSet.operandType(of: precision.dtype))
    }

    public var weightFormat: WeightFormat { weightFormat(of: precision) }
}

extension InstructionSet {
    /// What values of a type are multiplied in: bf16 only where the CPU multiplies it.
    package func operandType(of dtype: DType) -> DType { dtype == .bf16 && self >= .avx512bf16 ? .bf16 : .f32 }
}
