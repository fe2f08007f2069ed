import Testing
import TestSupport
import VDiT

@Suite struct AttendTests {
    let folder: TemporaryDirectory
    let layout = TokenLayout(frames: 5, height: 4, width: 8, textAfter: 7)

    init() throws { folder = try TemporaryDirectory() }

    private func operands(_ random: inout SeededRandom, heads: Int = 2, headDim: Int = 16) -> [Tensor] {
        (0..<3).map { _ in AttentionCase.normal([heads, layout.tokens, headDim], .f32, &random) }
    }

    private func attend(
        _ method: MethodChoice, _ tensors: [String: Tensor], step: Int = 0, steps: Int? = nil
    ) throws -> SafetensorsReader {
        let input = folder.path("in.safetensors"), output = folder.path("out.safetensors")
        try SafetensorsWriter.write(tensors, to: input, existing: .replace)
        var job = AttendJob(method: method, layout: layout, inputs: input, output: output)
        (job.existing, job.step, job.steps) = (.replace, step, steps)
        _ = try job.run()
        return try SafetensorsReader(output)
    }

    private func integers(_ file: SafetensorsReader, _ name: String) throws -> [Int32] {
        try file.tensor(name).withBytes { Array($0.bindMemory(to: Int32.self)) }
    }

    /// The plan as a notebook would put it together from the file.
    private func plan(_ file: SafetensorsReader, _ suffix: String, heads: Int) throws -> AttentionPlan {
        AttentionPlan(
            heads: try (0..<heads).map { head in
                func field(_ name: String) throws -> [Int32] { try integers(file, "\(name)\(suffix).\(head)") }
                return AttentionPlan.Head(
                    queryOrder: try field("query_order"), keyOrder: try field("key_order"),
                    queryOffsets: try field("query_offsets"), keyOffsets: try field("key_offsets"),
                    rowStart: try field("row_start"), keyBlocks: try field("key_blocks"))
            })
    }

    /// What a method plans with multiplies bf16 where the CPU does, and f32 elsewhere.
    @Test(arguments: MethodCatalogue.methods.filter { $0.trained == nil }.map(\.name), InstructionSet.supported)
    func everyMethodTakesBF16OnEveryInstructionSet(_ name: String, _ set: InstructionSet) throws {
        var random = SeededRandom(seed: 5)
        let qkv = operands(&random).map { $0.converted(to: .bf16) }
        let input = folder.path("bf16.safetensors"), output = folder.path("out.safetensors")
        try SafetensorsWriter.write(["q": qkv[0], "k": qkv[1], "v": qkv[2]], to: input, existing: .replace)
        let result = try CommandRun.run(
            [
                "attend", "--qkv", input, "--sparse", name, "--frames", "5", "--height", "4", "--width", "8",
                "--text-after", "7", "-o", output,
            ],
            environment: ["VDIT_ISA": "\(set)"])
        #expect(result.status == 0, "\(result.errors)")
        #expect(try SafetensorsReader(output).tensor("values").floats().allSatisfy { $0.isFinite })
    }

    @Test(arguments: ["radial", "svg2", "draft"])
    func valuesAreSoftmaxOverThePlanInTheFile(_ name: String) throws {
        var random = SeededRandom(seed: 3)
        let qkv = operands(&random)
        let options = [
            "radial": ["block": "16"], "draft": ["pool-height": "2", "pool-width": "4"],
            "svg2": ["query-clusters": "6", "key-clusters": "12", "top-p": "0.5", "least-keys": "0"],
        ][name] ?? [:]
        let file = try attend(
            MethodChoice(name, options: options), ["q": qkv[0], "k": qkv[1], "v": qkv[2]])
        let call = MethodCase.call(q: qkv[0], k: qkv[1], v: qkv[2], layout: layout)
        let plan = try plan(file, "", heads: 2)
        let expected = AttentionCase.oracle(call, plan)
        let values = Golden.swappingFirstAxes(try file.tensor("values"))
        #expect(relativeError(values.floats(), expected.values) < 1e-5)
        #expect(relativeError(try file.tensor("log_sum_exp").floats(), expected.logSumExp) < 1e-5)
        let densities = try file.tensor("density").floats()
        for head in 0..<2 {
            let density = Double(plan.head(head).pairs) / Double(layout.tokens * layout.tokens)
            #expect(abs(Double(densities[head]) - density) < 1e-6)
            #expect(density < 1, "the method itself ran")
        }
    }

    @Test func aSequenceCarriesWhatWasLearned() throws {
        var random = SeededRandom(seed: 5)
        let qkv = operands(&random)
        var tensors: [String: Tensor] = [:]
        for step in 0..<2 {
            for (letter, tensor) in zip(["q", "k", "v"], qkv) { tensors["\(letter).\(step)"] = tensor }
        }
        let file = try attend(MethodChoice("rettention", options: ["residual-type": "f32"]), tensors)
        // The first step measures; on the same operands the second gives dense attention back from the window.
        let first = try file.tensor("values.0").floats()
        #expect(relativeError(try file.tensor("values.1").floats(), first) < 1e-5)
        #expect(try file.tensor("density.0").floats() == [1, 1])
        #expect(try file.tensor("density.1").floats().allSatisfy { $0 < 0.9 })
        #expect(try integers(file, "finish.key_blocks.0.1") == integers(file, "key_blocks.1.1"))
    }

    /// So that one step can be laid beside another implementation, whatever came before it.
    ///
    /// Every method that learns is among these.
    @Test(arguments: [
        MethodExample("svg2", ["query-clusters": "6", "key-clusters": "12", "top-p": "0.5", "least-keys": "0"]),
        MethodExample("rettention"), MethodExample("rettention", ["residual-type": "f32", "kept": "0.2"]),
        MethodExample("adaspa", ["block": "16", "sparsity": "0.5"]), MethodExample("mass", ["block": "16"]),
        MethodExample("mass", ["order": "raster", "block": "16", "residual": "4"]),
    ])
    func aStepFromAGivenStateIsThatOfTheSequence(_ example: MethodExample) throws {
        let method = try MethodChoice(example.name, options: example.options)
        let learned = try example.configured().method.learns.map { "learned.\($0)" }
        var random = SeededRandom(seed: 11)
        let qkv = (0..<3).map { _ in operands(&random) }
        var sequence: [String: Tensor] = [:]
        for (step, tensors) in qkv.enumerated() {
            for (letter, tensor) in zip(["q", "k", "v"], tensors) { sequence["\(letter).\(step)"] = tensor }
        }
        let whole = try attend(method, sequence)
        var alone = Dictionary(uniqueKeysWithValues: zip(["q", "k", "v"], qkv[2]))
        for name in learned { alone[name] = try whole.tensor("\(name).1") }
        let last = try attend(method, alone, step: 2, steps: 3)
        let density = try last.tensor("density").floats()
        #expect(density.allSatisfy { $0 < 1 }, "the state was of no use")
        for name in ["values", "log_sum_exp", "density"] + learned {
            let (own, other) = (try last.tensor(name), try whole.tensor("\(name).2"))
            #expect(own.withBytes { Array($0) } == other.withBytes { Array($0) }, "\(name)")
        }
    }

    @Test func aBatchAxisAndBF16AreTaken() throws {
        var random = SeededRandom(seed: 7)
        let qkv = operands(&random).map { $0.converted(to: .bf16) }
        let file = try attend(
            .dense,
            Dictionary(
                uniqueKeysWithValues: zip(["q", "k", "v"], qkv).map { ($0, $1.reshaped([1] + $1.shape)) }))
        let call = MethodCase.call(q: qkv[0], k: qkv[1], v: qkv[2], layout: layout)
        let expected = AttentionCase.oracle(call, .dense(tokens: layout.tokens))
        let values = Golden.swappingFirstAxes(try file.tensor("values"))
        #expect(relativeError(values.floats(), expected.values) < 1e-2)
    }

    @Test func denseStepsAreKeptWhereAskedFor() throws {
        var random = SeededRandom(seed: 9)
        let qkv = operands(&random)
        var tensors: [String: Tensor] = [:]
        for step in 0..<2 {
            for (letter, tensor) in zip(["q", "k", "v"], qkv) { tensors["\(letter).\(step)"] = tensor }
        }
        let file = try attend(MethodChoice("radial", options: ["block": "16", "dense-steps": "1"]), tensors)
        #expect(try file.tensor("density.0").floats() == [1, 1])
        #expect(try file.tensor("density.1").floats().allSatisfy { $0 < 1 })
    }
}
