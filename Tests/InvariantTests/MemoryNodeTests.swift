import CVditKernels
import Glibc
import Synchronization
import TestSupport
import Testing
import VDiT

@testable import VditFiles
@testable import VditTensor

/// Memory nodes, read from folders that stand for the machine's own, and where threads run on them.
@Suite struct MemoryNodeTests {
    private static func machine(_ online: String?, _ lists: [Int: String]) throws -> TemporaryDirectory {
        let folder = try TemporaryDirectory()
        if let online { try folder.write(online + "\n", "sys/devices/system/node/online") }
        for (node, list) in lists { try folder.write(list + "\n", "sys/devices/system/node/node\(node)/cpulist") }
        return folder
    }

    private static func nodes(_ online: String?, _ lists: [Int: String], _ allowed: [Int]) throws -> [Int: [Int]] {
        let folder = try machine(online, lists)
        return Dictionary(
            uniqueKeysWithValues: MemoryNode.usable(root: folder.path, of: allowed).map { ($0.number, $0.processors) })
    }

    @Test func numbersAreReadAsTheSystemListsThem() {
        for (text, numbers) in [
            ("0", [0]), ("0-3,8", [0, 1, 2, 3, 8]), ("2,5-6", [2, 5, 6]), ("", []), ("7-7", [7]),
        ] {
            #expect(NumberList.read(text) == numbers)
        }
        for text in [
            "a", "-", "1-", "-1", "3-1", "1,,2", ",", "1-2-3", "4,4", "4,2", "0-99999999999", "65536", " 1", "1 ",
        ] {
            #expect(NumberList.read(text) == nil, "\(text)")
        }
        #expect(NumberList.written([0, 1, 2, 3, 8, 10, 11]) == "0-3,8,10-11")
        #expect(NumberList.written([]) == "")
    }

    @Test func everyNodeHasTheProcessorsThatMayBeUsed() throws {
        let two = [0: "0-3,8-11", 1: "4-7,12-15"]
        let all = [0: Array(0...3) + Array(8...11), 1: Array(4...7) + Array(12...15)]
        #expect(try Self.nodes("0-1", two, Array(0..<16)) == all)
        #expect(try Self.nodes("0-1", two, [1, 2, 6]) == [0: [1, 2], 1: [6]])
        // Held to a socket by `numactl` or a batch system.
        #expect(try Self.nodes("0-1", two, [4, 5]) == [1: [4, 5]])
        // Memory without processors, and numbers with holes.
        #expect(try Self.nodes("0,2-3", [0: "0-1", 2: "2-3", 3: ""], [0, 1, 2, 3]) == [0: [0, 1], 2: [2, 3]])
        #expect(try Self.nodes("0", [0: "0-1"], [0, 1]) == [0: [0, 1]])
    }

    @Test func aMachineThatDoesNotSayClearlyHasOneNode() throws {
        let allowed = [0, 1, 2, 3]
        let two = [0: "0-1", 1: "2-3"]
        for (online, lists) in [
            (nil, [:]), (nil, two), ("", two), ("nonsense", two), ("0-99999999999", two), ("0-1", [0: "0-1", 1: "2-x"]),
            ("0-1", [0: "0-1"]), ("0-1", [0: "0-1", 1: "2"]), ("0", two), ("0-1", [0: "0-1", 1: "2-99999999999"]),
        ] as [(String?, [Int: String])] {
            #expect(try Self.nodes(online, lists, allowed) == [0: allowed], "\(online ?? "-") \(lists)")
        }
    }

    @Test func consecutiveWorkersShareANodeAndEveryNodeHasItsPart() {
        func places(_ workers: Int, _ processors: [Int]) -> [Int] {
            var next = 0
            let nodes = processors.enumerated().map { node, count in
                defer { next += count }
                return MemoryNode(number: node, processors: Array(next..<next + count))
            }
            return WorkerPlaces(workers: workers, nodes: nodes).nodes.map(\.number)
        }
        #expect(places(4, [2, 2]) == [0, 0, 1, 1])
        #expect(places(8, [8, 8]) == [0, 0, 0, 0, 1, 1, 1, 1])
        #expect(places(3, [8, 8]) == [0, 0, 1])
        #expect(places(2, [1, 1, 1, 1]) == [0, 2])
        #expect(places(1, [4, 4]) == [0])
        // As many as a node has processors for; more threads than processors.
        #expect(places(4, [3, 1]) == [0, 0, 0, 1])
        #expect(places(6, [1, 1, 1]) == [0, 0, 1, 1, 2, 2])
        #expect(places(4, [4]) == [])
    }

    @Test func whatIsDoneIsSaid() {
        let nodes = [MemoryNode(number: 0, processors: [0, 1]), MemoryNode(number: 3, processors: [2, 3, 8])]
        let two = "\(WorkerPlaces(workers: 5, nodes: nodes))"
        #expect(two.contains("2 on node 0 (processors 0-1), 3 on node 3 (processors 2-3,8); memory"))
        #expect("\(WorkerPlaces(workers: 5, nodes: [nodes[0]]))".contains("no effect"))
        #expect(WorkerPlaces(workers: 1, nodes: nodes).sharing.isEmpty)
    }

    /// What a worker of a pool saw of itself in its items.
    private struct Seen: Sendable {
        let thread: pthread_t
        let processors: [Int]
        let mode: Int32?
        /// How the system says pages of scratch are laid, and those of a tensor.
        let scratch: String?
        let tensor: String?
    }

    private static func mode() -> Int32? {
        var policy = vdit_memory_policy()
        return vdit_get_memory_policy(&policy) == 0 ? policy.mode : nil
    }

    /// The policy of pages at an address; nil where the system does not tell.
    private static func policy(_ address: UnsafeMutableRawPointer) -> String? {
        guard let file = fopen("/proc/self/numa_maps", "r") else { return nil }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 4096)
        var found: String?
        while fgets(&line, Int32(line.count), file) != nil {
            let bytes = line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:))
            let words = String(decoding: bytes, as: UTF8.self).split(separator: " ")
            guard words.count > 1, let start = UInt(words[0], radix: 16) else { continue }
            if start <= UInt(bitPattern: address) { found = String(words[1]) }
        }
        return found
    }

    /// Every worker once: an item ends when all have one.
    private static func seen(_ pool: WorkPool) -> [Seen] {
        let slots = ResultSlots<Seen>(count: pool.threads)
        let arrived = Atomic<Int>(0)
        pool.run(pool.threads) { item, scratch in
            arrived.wrappingAdd(1, ordering: .relaxed)
            for _ in 0..<10_000 where arrived.load(ordering: .relaxed) < pool.threads { usleep(1000) }
            let (kept, shared) = (scratch.tensor(.u8, [4 << 20]), Tensor(.u8, [4 << 20]))
            kept.fill(byte: 1)
            shared.fill(byte: 1)
            slots[item] = Seen(
                thread: pthread_self(), processors: Affinity.current, mode: mode(), scratch: policy(kept.rawPointer),
                tensor: policy(shared.rawPointer))
        }
        return slots.all
    }

    @Test func workersRunOnTheirNodesAndTheCallerIsAsItWas() throws {
        let allowed = Affinity.current
        guard allowed.count >= 2 else { return }
        let nodes = (0..<2).map { MemoryNode(number: $0, processors: [allowed[$0]]) }
        let before = Self.mode()
        let places = WorkerPlaces(workers: 2, nodes: nodes)
        let pool = WorkPool(threads: 2, places: places)
        for _ in 0..<2 {
            let seen = Self.seen(pool)
            #expect(Set(seen.map(\.thread)).count == 2)
            #expect(Set(seen.map(\.processors)) == [[allowed[0]], [allowed[1]]])
            let own = try #require(seen.first { $0.thread == pthread_self() })
            #expect(own.processors == [allowed[0]])
            if !places.sharing.isEmpty {
                #expect(seen.allSatisfy { $0.mode == 3 }, "MPOL_INTERLEAVE")
                #expect(seen.allSatisfy { $0.scratch.map { $0 == "local" } ?? true })
                #expect(seen.allSatisfy { $0.tensor.map { $0 != "local" } ?? true })
            }
            #expect(Affinity.current == allowed && Self.mode() == before)
        }
        // A run of one item is the caller's alone.
        pool.run(1) { _, _ in #expect(Affinity.current == [allowed[0]]) }
        #expect(pool.asFirstWorker { Affinity.current } == [allowed[0]])
        #expect(Affinity.current == allowed && Self.mode() == before)
    }

    @Test(arguments: [nil, WorkerPlaces(workers: 2, nodes: [MemoryNode(number: 0, processors: [0])])])
    func withoutNodesThreadsRunWhereTheSystemHasThem(_ places: WorkerPlaces?) {
        let (allowed, before) = (Affinity.current, Self.mode())
        let seen = Self.seen(WorkPool(threads: 2, places: places))
        #expect(seen.count == 2)
        #expect(seen.allSatisfy { $0.processors == allowed && $0.mode == before && $0.scratch != "local" })
    }

    @Test func placesChangeNoByte() throws {
        let allowed = Affinity.current
        let nodes = (0..<2).map { MemoryNode(number: $0, processors: [allowed[$0 % allowed.count]]) }
        let decoded = try [nil, nodes, [nodes[0]]].map { nodes in
            let places = nodes.map { WorkerPlaces(workers: 2, nodes: $0) }
            let compute = ComputeContext(
                pool: WorkPool(threads: 2, places: places), instructionSet: try .chosen(), precision: .bf16)
            let vae = try WanVAE(directory: Golden.path("wan-vae/wan21-base6"), use: .both, compute: compute)
            let latents = WanVAEStreamTests.latents(vae, frames: 2, height: 9, width: 7, seed: 3)
            return try WanVAEStreamTests.frames(vae, latents)
        }
        #expect(decoded[0] == decoded[1] && decoded[0] == decoded[2])
    }
}
