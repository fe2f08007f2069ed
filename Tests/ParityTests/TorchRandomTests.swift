import Foundation
import TestSupport
import Testing
import VDiT

/// `torch.randn` and its parts, against what PyTorch 2.13 gave on an x86-64 machine with AVX2.
@Suite struct TorchRandomTests {
    static let seeds: [UInt64] = [0, 42, 1_234_567_890_123]
    static let sizes = [1, 2, 5, 15, 16, 17, 31, 32, 40, 48, 1000]
    let golden: SafetensorsReader

    init() throws {
        golden = try SafetensorsReader(Golden.path("rng/torch-cpu-x86-avx2.safetensors"))
    }

    func expectSameBits(_ tensor: Tensor, _ name: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let expected = try golden.tensor(name)
        #expect(tensor.dtype == expected.dtype && tensor.shape == expected.shape, sourceLocation: sourceLocation)
        #expect(bytes(tensor) == bytes(expected), "\(name)", sourceLocation: sourceLocation)
    }

    @Test(arguments: seeds)
    func wordsAndUniformsEqualPyTorch(seed: UInt64) throws {
        var random = TorchRandom(seed: seed)
        let words = try golden.tensor("seed\(seed).mt19937_u32_first700")
        #expect((0..<700).map { _ in Int64(random.word()) } == integers(words))

        random = TorchRandom(seed: seed)
        let floats = (0..<20).map { _ in random.uniformFloat() }
        #expect(floats == (try golden.tensor("seed\(seed).rand_f32_20")).floats())

        random = TorchRandom(seed: seed)
        let doubles = (0..<20).map { _ in random.uniformDouble() }
        let expected = try golden.tensor("seed\(seed).rand_f64_20")
        #expect(doubles == expected.withBytes { Array($0.bindMemory(to: Double.self)) })
    }

    @Test(arguments: seeds, [DType.f32, .f64, .bf16, .f16])
    func normalsOfEverySizeAndTypeEqualPyTorch(seed: UInt64, dtype: DType) throws {
        let name = ["F32": "f32", "F64": "f64", "BF16": "bf16", "F16": "f16"][dtype.rawValue]!
        var compared = 0
        for size in Self.sizes where golden.info("seed\(seed).randn_\(name)_\(size)") != nil {
            var random = TorchRandom(seed: seed)
            try expectSameBits(random.normal([size], dtype), "seed\(seed).randn_\(name)_\(size)")
            compared += 1
        }
        #expect(compared >= 10)
    }

    @Test(arguments: [[1, 17, 1, 2], [20, 5], [3, 16, 3], [5, 5, 3]])
    func callsShareTheCachedNormalAsInPyTorch(sizes: [Int]) throws {
        var random = TorchRandom(seed: 42)
        let prefix = "sequence_seed42_sizes\(sizes.map(String.init).joined(separator: "-"))"
        for (call, size) in sizes.enumerated() {
            try expectSameBits(random.normal([size]), "\(prefix).call\(call)")
        }
    }

    @Test(arguments: seeds)
    func shapesAreFilledRowMajor(seed: UInt64) throws {
        var random = TorchRandom(seed: seed)
        try expectSameBits(random.normal([2, 3, 5, 7]), "seed\(seed).randn_f32_shape2x3x5x7")
        random = TorchRandom(seed: seed)
        try expectSameBits(random.normal([1, 16, 3, 10, 14]), "wan_latents_seed\(seed).1x16x3x10x14")
    }

    @Test func aHundredThousandNormalsEqualPyTorch() throws {
        var random = TorchRandom(seed: 1234)
        try expectSameBits(random.normal([100_000]), "seed1234.randn_f32_100000")
    }

    @Test func aListOfGeneratorsIsOneGeneratorPerSample() throws {
        let expected = try golden.tensor("wan_latents_generator_list")
        var matched = 0
        for sample in 0..<2 {
            let wanted = bytes(expected[sample])
            matched += Self.seeds.filter { seed in
                var random = TorchRandom(seed: seed)
                return bytes(random.normal([16, 3, 10, 14])) == wanted
            }.count
        }
        #expect(matched == 2)
    }

    @Test(arguments: seeds)
    func theLatentsOfAFullWanVideoEqualPyTorch(seed: UInt64) throws {
        var random = TorchRandom(seed: seed)
        let latents = random.normal([1, 16, 21, 60, 104])
        let flat = latents.reshaped([latents.count])
        let name = "wan_latents_seed\(seed).1x16x21x60x104"
        try expectSameBits(flat.slice(0..<256), "\(name).first256")
        try expectSameBits(flat.slice(flat.count - 256..<flat.count), "\(name).last256")
        let values = latents.floats()
        try expectSameBits(
            Tensor(stride(from: 0, to: values.count, by: 4099).map { values[$0] }), "\(name).every4099th")

        let json = try Data(contentsOf: URL(fileURLWithPath: Golden.path("rng/torch-cpu-x86-avx2.json")))
        let notes = try #require(try JSONSerialization.jsonObject(with: json) as? [String: Any])
        let big = try #require((notes["big_wan_latents"] as? [String: Any])?[name] as? [String: Any])
        let sum = try #require(big["sum_f64"] as? Double)
        // One value off by one place moves the sum by more than adding 2.1 million in another order does.
        #expect(abs(values.reduce(0.0) { $0 + Double($1) } - sum) < 2e-8)
        #expect(values.min() == (big["min"] as? Double).map { Float($0) })
        #expect(values.max() == (big["max"] as? Double).map { Float($0) })
    }

    @Test func theTracedBlocksEqualPyTorch() throws {
        let trace = try SafetensorsReader(Golden.path("rng/boxmuller-avx2-trace.safetensors"))
        var random = TorchRandom(seed: 42)
        #expect((0..<64).map { _ in random.uniformFloat() } == (try trace.tensor("uniform")).floats())
        random = TorchRandom(seed: 42)
        #expect(bytes(random.normal([4, 16])) == bytes(try trace.tensor("normal")))
    }

    @Test func theScalarKernelOfPyTorchIsCloseButNotEqual() throws {
        let scalar = try SafetensorsReader(Golden.path("rng/torch-cpu-scalar.safetensors"))
        var random = TorchRandom(seed: 42)
        let ours = random.normal([1000]).floats()
        let theirs = try scalar.tensor("seed42.randn_f32_1000").floats()
        #expect(zip(ours, theirs).allSatisfy { abs($0 - $1) <= 3e-6 })
        #expect(ours != theirs)
    }

    @Test(arguments: [0, 1, 16, 17, 623, 624, 700])
    func aRestoredStateGoesOnAsTheOriginal(drawn: Int) throws {
        var random = TorchRandom(seed: 7)
        _ = random.normal([3])  // leaves a cached value
        for _ in 0..<drawn { _ = random.word() }
        var restored = try TorchRandom(state: random.state)
        for size in [1, 5, 40] { #expect(bytes(random.normal([size])) == bytes(restored.normal([size]))) }
        #expect(bytes(random.state) == bytes(restored.state))
    }

    @Test func somethingThatIsNoStateIsRefused() {
        #expect(throws: TensorError.self) { try TorchRandom(state: Tensor(.u32, [624])) }
        #expect(throws: TensorError.self) { try TorchRandom(state: Tensor(.f32, [628])) }
        let broken = TorchRandom(seed: 1).state
        broken.pointer(as: UInt32.self)[624] = 625
        #expect(throws: TensorError.self) { try TorchRandom(state: broken) }
    }
}

private func bytes(_ tensor: Tensor) -> [UInt8] { tensor.withBytes { Array($0) } }

private func integers(_ tensor: Tensor) -> [Int64] {
    tensor.withBytes { Array($0.bindMemory(to: Int64.self)) }
}
