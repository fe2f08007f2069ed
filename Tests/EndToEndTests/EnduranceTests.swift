import Foundation
import Glibc
import TestSupport
import Testing
import VDiT

/// A process that runs job after job keeps nothing of those that are done.
///
/// `VDIT_JOBS` sets how many; figures of long runs are in docs/reliability.md.
struct EnduranceTests {
    /// What a process holds of its machine.
    private struct Held: CustomStringConvertible {
        let files = FilePath.names(in: "/proc/self/fd")?.count ?? 0
        /// Without those of dispatch queues, which have names of their own and come and go as the system likes.
        let threads: Int
        let mebibytes: Int

        init() throws {
            func name(_ task: String) -> String? { try? String(contentsOfFile: "/proc/self/\(task)/comm", encoding: .utf8) }
            let own = name("task/\(getpid())")
            threads = (FilePath.names(in: "/proc/self/task") ?? []).count { name("task/\($0)") == own }
            let pages = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")
            mebibytes = ((Int(pages[1]) ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE)))) >> 20
        }

        var description: String { "\(files) files, \(threads) threads, \(mebibytes) MiB" }
    }

    /// Every job needs the one before, so models are dropped and loaded again: two, each with and without an adapter.
    private static func jobs(_ count: Int) -> String {
        let methods = MethodCatalogue.methods.filter { $0.trained == nil }.map(\.name)
        return "jobs:\n" + (0..<count).map { index in
            let adapters = index / 4 % 2 == 0 ? "" : ", lora: \(Golden.sample("wan-mini/lora/4-step.safetensors"))"
            let needs = index == 0 ? "" : ", needs: [j\(index - 1)]"
            return "  - {name: j\(index), model: model-\(index / 8 % 2), sparse: \(methods[index % methods.count])\(adapters)\(needs)}\n"
        }.joined()
    }

    @Test func aBatchOfManyJobsHoldsNoMoreAtItsEndThanAfterTheFirst() async throws {
        let result = try await #require(processExitsWith: .success, observing: [\.standardOutputContent]) {
            let count = ProcessInfo.processInfo.environment["VDIT_JOBS"].flatMap { Int($0) } ?? 72
            let first = 36
            let folder = try TemporaryDirectory()
            for index in 0..<2 {
                try FileManager.default.createSymbolicLink(
                    atPath: folder.path("model-\(index)"), withDestinationPath: Golden.sample("wan-mini"))
            }
            let prompt = Golden.sample("prompts/01-red-ball-right.safetensors")
            try folder.write(
                """
                version: 1
                output: out/{job}.mkv
                defaults: {prompt_embedding: \(prompt), size: 32x32, num_frames: 5, steps: 1, guidance_scale: 1, seed: 1,
                    sparse_fallback: dense, threads: 2, codec: ffv1}
                \(Self.jobs(count))
                """, "batch.yaml")
            let plan = try BatchPlan(PipelineFile(path: folder.path("batch.yaml")))
            let database = try RunDatabase(path: folder.path("batch.vdit.sqlite"))
            defer { database.close() }
            let batch = Batch(plan, database: database, runner: LocalRunner())
            try batch.prepare()
            var done = 0
            var held: [Int: Held] = [:]
            let summary = try batch.run(stop: StopFlag()) { event in
                guard case .done = event else { return }
                done += 1
                if done == first || done == count || done.isMultiple(of: 500) { held[done] = try Held() }
            }
            for (done, held) in held.sorted(by: { $0.key < $1.key }) { print("after \(done) jobs: \(held)") }
            let (before, after) = (try #require(held[first]), try #require(held[count]))
            #expect(summary.done == count && summary.exitCode == 0)
            #expect(after.files == before.files && after.threads == before.threads, "\(before); \(after)")
            #expect(after.mebibytes <= before.mebibytes * 5 / 4 + 64, "\(before); \(after)")
        }
        if ProcessInfo.processInfo.environment["VDIT_JOBS"] != nil {
            print(String(decoding: result.standardOutputContent ?? [], as: UTF8.self))
        }
    }
}
