import TestSupport
import Testing
import VDiT

/// What merging an adapter promises whatever the file.
struct AdapterInvariants {
    static let name = "blocks.1.ffn.net.0.proj.weight"

    static func merged(
        _ files: [(String, Double)], threads: Int = 2, _ set: InstructionSet? = nil
    ) throws -> AdaptedWeights {
        let folder = Golden.path("wan-transformer/t2v-2heads-dim64")
        let names = try WanTransformerConfig(ConfigFile(path: folder + "/config.json")).adapterNames
        let adapters = try files.map { name, strength in
            (try Adapter(AdapterFile(Golden.path("lora/\(name)/lora.safetensors")), for: names), strength)
        }
        let compute = ComputeContext(
            pool: WorkPool(threads: threads), instructionSet: try set ?? .chosen(), precision: .fp32)
        return AdaptedWeights(try WeightStore(folder), adapters, compute)
    }

    @Test func threadsAndInstructionSetsDoNotChangeABit() throws {
        let files = [("original-names-alpha-bf16", 0.7), ("kohya-names", -0.3)]
        let expected = try Self.merged(files, threads: 1, .scalar).tensor(Self.name).floats()
        for set in InstructionSet.supported {
            for threads in [1, 2, 3] {
                let found = try Self.merged(files, threads: threads, set).tensor(Self.name).floats()
                #expect(found == expected, "\(set), \(threads) threads")
            }
        }
    }

    @Test func strengthZeroLeavesEveryByte() throws {
        let weights = try Self.merged([("extracted-with-diffs", 0)])
        let base = try WeightStore(Golden.path("wan-transformer/t2v-2heads-dim64"))
        for name in base.names {
            let (found, expected) = (try weights.tensor(name), try base.tensor(name))
            #expect(found.dtype == expected.dtype && found.floats() == expected.floats(), "\(name)")
        }
    }

    @Test(arguments: [(1, 1, 1), (3, 5, 2), (4, 32, 7), (5, 33, 1), (64, 100, 16), (70, 47, 3), (8, 15, 4)])
    func theProductIsTheSumInAscendingOrder(rows: Int, columns: Int, rank: Int) throws {
        var random = TorchRandom(seed: 9)
        let (up, down) = (random.normal([rows, rank]), random.normal([rank, columns]))
        let base = random.normal([rows, columns])
        let (a, b, w) = (up.floats(), down.floats(), base.floats())
        var expected: [Float] = []
        for row in 0..<rows {
            for column in 0..<columns {
                var sum: Float = 0
                for r in 0..<rank { sum.addProduct(a[row * rank + r], b[r * columns + column]) }
                let change = 0.3 * sum
                expected.append(w[row * columns + column] + change)
            }
        }
        for set in InstructionSet.supported {
            let found = base.copy()
            found.addProduct(up: up, down: down, factor: 0.3, WorkPool(threads: 2), set)
            #expect(found.floats() == expected, "\(set)")
        }
    }
}
