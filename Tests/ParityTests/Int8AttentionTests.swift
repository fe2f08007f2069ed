import Foundation
import TestSupport
import Testing
import VDiT

/// Scores of 8-bit whole numbers as NumPy has them, dense and sparse.
@Suite struct Int8AttentionTests {
    static let cases = ["2x37x70x32", "1x33x97x64", "1x24x45x128"]

    @Test(arguments: cases, AttentionKernel.withInt8Scores)
    func goldenOutputsAreReproduced(name: String, kernel: AttentionKernel) throws {
        let golden = try SafetensorsReader(Golden.path("int8/attention-int8-qk.safetensors"))
        func tensor(_ part: String) throws -> Tensor { try golden.tensor("\(name).\(part)").copy() }
        let (q, k, v) = (try tensor("q"), try tensor("k"), try tensor("v"))
        let (heads, rows, dim, keys) = (q.shape[0], q.shape[1], q.shape[2], k.shape[1])
        let pool = WorkPool(threads: 2)
        let offsets = AttentionPlan.offsets(tokens: keys, block: 16)
        let packed = PackedKeys(
            k: k, v: v, blocks: [KeyBlocks(offsets: offsets, kernel: kernel)], kernel: kernel, pool: pool)
        let keep = try tensor("keep_blocks_of_16").withBytes { Array($0) }
        let (rowBlocks, keyBlocks) = ((rows + 15) / 16, offsets.count - 1)

        func run(_ kept: (_ head: Int, _ block: Int) -> [Int32]) -> (values: Tensor, logSumExp: Tensor) {
            let values = Tensor(.f32, [heads, rows, dim]), logSumExp = Tensor(.f32, [heads, rows])
            for head in 0..<heads {
                for block in 0..<rowBlocks {
                    packed.attend(
                        head: head, q: HeadView(headMajor: q, head: head),
                        blocks: [
                            QueryBlock(
                                positions: block * 16..<min(rows, block * 16 + 16), kept: kept(head, block)[...])
                        ],
                        scale: 1 / Float(dim).squareRoot(), out: HeadView(headMajor: values, head: head),
                        logSumExp: logSumExp[head], scratch: Scratch())
                }
            }
            return (values, logSumExp)
        }
        let dense = run { _, _ in Array(0..<Int32(keyBlocks)) }
        // Weights and values are bf16 where the kernel multiplies them.
        let tolerance = "\(kernel)".contains("bf16") ? 5e-3 : 2e-6
        #expect(try relativeError(dense.values.floats(), tensor("output").floats()) < tolerance)
        #expect(try relativeError(dense.values.floats(), tensor("exact").floats()) < 1.2e-2)
        for (found, right) in zip(dense.logSumExp.floats(), try tensor("lse").floats()) {
            #expect(abs(found - right) <= (tolerance > 1e-3 ? 2e-3 : 1e-5) * max(1, abs(right)))
        }
        let sparse = run { head, block in
            (0..<keyBlocks).filter { keep[(head * rowBlocks + block) * keyBlocks + $0] != 0 }.map(Int32.init)
        }
        #expect(try relativeError(sparse.values.floats(), tensor("output_sparse").floats()) < tolerance)
    }

    /// What all keys have in common moves no weight, and costs no precision.
    @Test(arguments: AttentionKernel.withInt8Scores)
    func aPartCommonToAllKeysIsFree(kernel: AttentionKernel) {
        var random = SeededRandom.fresh()
        let call = AttentionCase.call(
            heads: 2, tokens: 150, headDim: 64, AttentionCase.kernels[0], &random)
        var k = call.k.floats()
        for i in k.indices { k[i] += Float(i % 64) - 20 }
        let moved = AttentionCase.call(like: call, k: Tensor(k, shape: call.k.shape))
        let plan = AttentionPlan.dense(tokens: 150, block: 32)
        let error = relativeError(
            blockSparseAttention(moved, plan, values: .f32, kernel: kernel).values.floats(),
            blockSparseAttention(call, plan, values: .f32, kernel: kernel).values.floats())
        #expect(error < 2e-2, "seed \(random.seed)")
    }

    @Test func anInt8KernelIsWhatWasAskedFor() {
        for set in InstructionSet.supported {
            #expect("\(AttentionKernel(set, operands: .bf16, precision: .int8))".hasPrefix("int8 "))
            #expect(
                "\(AttentionKernel(set, operands: .bf16, precision: .bf16))"
                    == "\(AttentionKernel(set, operands: .bf16))")
        }
    }
}

/// int8 on the sample model, one call against fp32.
@Suite struct Int8Transformer {
    static let model = Result { try ModelDirectory(path: Golden.sample("wan-mini")) }

    static func predict(
        _ precision: Precision, scores: AttentionPrecision? = nil, threads: Int = 2
    ) throws -> (sample: Tensor, layerBytes: Int) {
        let specification = try model.get().specification
        let compute = try ComputeContext(threads: threads, precision: precision)
        let transformer = try specification.transformer.load(model.get().transformerWeights[0], compute)
        let prompt = try SafetensorsReader(Golden.sample("prompts/08-pink-heart-grows.safetensors"))
            .tensor("prompt_embeds")[0].copy()
        let latents = specification.decoder.latentShape(width: 160, height: 96, numFrames: 17)
        var random = TorchRandom(seed: 7)
        let kernel = AttentionKernel(compute.instructionSet, operands: compute.operandType, precision: scores)
        let sample = try transformer.predict(
            random.normal([1] + latents.extents).reshaped(latents.extents),
            conditioning: transformer.prepare(Conditioning(prompt: prompt)),
            ForwardPass(timesteps: [1000]) { call in
                blockSparseAttention(call, .dense(tokens: call.tokens), values: call.q.dtype, kernel: kernel)
            })
        return (sample, transformer.layerByteCount)
    }

    @Test func oneCallIsCloseToTheReference() throws {
        let reference = try Self.predict(.fp32).sample
        let int8 = try Self.predict(.int8)
        #expect(Golden.difference(int8.sample, reference).relative < 0.010)
        #expect(Golden.difference(try Self.predict(.bf16, scores: .int8).sample, reference).relative < 0.0045)
        #expect(Golden.difference(try Self.predict(.int8, scores: .int8).sample, reference).relative < 0.011)
        let bf16 = try Self.predict(.bf16)
        #expect(Golden.difference(bf16.sample, reference).relative < Golden.difference(int8.sample, reference).relative)
        #expect(int8.sample.floats() == (try Self.predict(.int8, threads: 1).sample.floats()))
        #expect(Double(int8.layerBytes) < 0.56 * Double(bf16.layerBytes))
    }

    @Test func weightsAreCountedAsTheyAreKept() throws {
        let specification = try Self.model.get().specification.transformer
        let whole = specification.int8ParameterCount
        // What makes keys and values of the prompt is not kept.
        let all = specification.parameterCount - specification.promptParameterCount
        #expect(specification.promptParameterCount == 8 * 2 * (384 * 384 + 384) + 8 * 384)
        #expect(specification.weightBytes(.fp32) == 4 * all && specification.weightBytes(.bf16) == 2 * all)
        #expect(specification.weightBytes(.int8) == 2 * all - whole)
        // Six of eight blocks, which are most of the model.
        #expect((0.6...0.75).contains(Double(whole) / Double(all)))
    }
}
