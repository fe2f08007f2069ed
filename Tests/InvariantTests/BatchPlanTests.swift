import Foundation
import TestSupport
import Testing
import VDiT

/// What a pipeline file becomes.
struct BatchPlanTests {
    private func plan(_ text: String, set: [String] = []) throws -> (BatchPlan, TemporaryDirectory) {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
        let path = try folder.write(text, "night.yaml")
        return (try BatchPlan(PipelineFile(path: path, overrides: set)), folder)
    }

    static let head = """
        version: 1
        output: out/{job}-{prompt}-{seed}-{size}.mkv
        defaults: &base
          model: model
          prompt_embedding: a.safetensors
          size: 32x32
          num_frames: 5
          steps: 2
          codec: ffv1

        """

    @Test func aMatrixIsTheProductOfItsAxesInTheOrderOfTheFile() throws {
        let (plan, _) = try plan(
            Self.head + "matrix:\n  seed: [1, 2]\n  prompt_embedding: [a.safetensors, b.safetensors]\n  exclude: [{seed: 2, prompt_embedding: b}]\n")
        #expect(plan.jobs.map(\.id) == ["night/1/a", "night/1/b", "night/2/a"])
        #expect(plan.jobs.map { ($0.output as NSString).lastPathComponent } == [
            "night-a-1-32x32.mkv", "night-b-1-32x32.mkv", "night-a-2-32x32.mkv",
        ])
    }

    @Test func theLastLayerWinsJobOverAxisOverDefaults() throws {
        let (plan, _) = try plan(
            Self.head + """
                matrix:
                  shape:
                    - {name: small, size: 16x16, steps: 3}
                    - {name: wide, size: 32x16}
                jobs:
                  - {name: one, seed: 5}
                  - {name: two, steps: 4, matrix: {seed: [1, 2]}}
                  - <<: *base
                    name: three
                    seed: 9
                    output: out/{job}-{shape}.mkv

                """)
        #expect(plan.jobs.map(\.id) == [
            "one/small", "one/wide", "two/small/1", "two/small/2", "two/wide/1", "two/wide/2", "three/small", "three/wide",
        ])
        #expect(plan.jobs.compactMap(\.render?.settings.steps) == [3, 2, 4, 4, 4, 4, 2, 2])
        #expect(plan.jobs.compactMap(\.render?.settings.width) == [16, 32, 16, 16, 32, 32, 32, 32])
        #expect(plan.jobs.compactMap(\.render?.settings.seed) == [5, 5, 1, 2, 1, 2, 9, 9])
    }

    @Test func overridesReachEveryPlace() throws {
        let (plan, _) = try plan(
            Self.head + "jobs:\n  - {name: one}\n  - {name: two, seed: 3}\n",
            set: ["defaults.steps=7", "jobs.two.seed=4", "jobs.0.seed=8", "limits.retries=3", "matrix.num_frames=[5, 9]", "output=x/{index}.mkv"])
        #expect(plan.jobs.map(\.id) == ["one/5", "one/9", "two/5", "two/9"])
        #expect(plan.jobs.compactMap(\.render?.settings.seed) == [8, 8, 4, 4])
        #expect(plan.jobs.allSatisfy { $0.render?.settings.steps == 7 } && plan.file.limits.retries == 3)
        #expect(plan.jobs.last?.output.hasSuffix("x/3.mkv") == true)
    }

    @Test func aJobNeedsTheInstancesThatShareItsValues() throws {
        let (plan, _) = try plan(
            Self.head + "matrix: {seed: [1, 2]}\njobs:\n  - {name: a}\n  - {name: b, needs: [a]}\n  - {name: c, seed: 5, needs: [a]}\n")
        let needs = Dictionary(uniqueKeysWithValues: plan.jobs.map { ($0.id, $0.needs) })
        #expect(needs == ["a/1": [], "a/2": [], "b/1": ["a/1"], "b/2": ["a/2"], "c": ["a/1", "a/2"]])
    }

    @Test func theFingerprintChangesWithWhatTheVideoDependsOnAndNothingElse() throws {
        let jobs = "jobs: [{name: one}]\n"
        let (base, folder) = try plan(Self.head + jobs)
        let path = folder.path("night.yaml")
        func fingerprint(_ set: [String]) throws -> String {
            try BatchPlan(PipelineFile(path: path, overrides: set)).jobs[0].fingerprint
        }
        let original = base.jobs[0].fingerprint
        #expect(try fingerprint([]) == original)
        for same in ["defaults.threads=1", "defaults.memory_limit=1G", "defaults.checkpoint_every=1", "limits.retries=2"] {
            #expect(try fingerprint([same]) == original, "\(same)")
        }
        for other in [
            "defaults.seed=1", "defaults.steps=3", "defaults.size=16x32", "defaults.sparse=radial", "defaults.fps=8",
            "defaults.codec=h264", "defaults.prompt_embedding=b.safetensors", "defaults.guidance_scale=2", "output=y.mkv",
            "defaults.negative_prompt_embedding=empty.safetensors", "defaults.precision=fp32", "defaults.scheduler=euler",
        ] {
            #expect(try fingerprint([other]) != original, "\(other)")
        }
    }

    @Test func aFileThatManyJobsNameIsReadForTheFirst() throws {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
        let name = try ModelDirectory(path: folder.path("model")).specification.defaults.name
        try folder.write(
            """
            {"family": "\(name)", "settings": {"width": "32", "height": "32", "num_frames": "5", "steps": "2"},
             "variants": [{"variant": {"method": "radial", "density": 1, "options": {}}, "label": "radial",
                           "psnr": 43, "seconds": 16, "speed_ratio": 1.25, "flops_saved": 0.2}]}
            """, "results.json")
        let watch = OpenCount(["", "/model", "/model/transformer", "/model/vae"].map { folder.path + $0 })
        func opened(jobs: Int) throws -> [String: Int] {
            let path = try folder.write(
                Self.head + "  sparse: auto\n  sparse_results: results.json\n"
                    + "matrix: {seed: [\((1...jobs).map(String.init).joined(separator: ", "))]}\n", "night.yaml")
            _ = watch.opened()
            let plan = try BatchPlan(PipelineFile(path: path))
            #expect(plan.jobs.count == jobs && plan.jobs.allSatisfy { $0.render?.settings.method.name == "radial" })
            return watch.opened()
        }
        let few = try opened(jobs: 2)
        #expect(few.count > 5)
        #expect(try opened(jobs: 9) == few)
    }

    @Test(arguments: [1, 2, 3, 7, 40])
    func sharesCoverEveryJobOnceAndKeepNeedsTogether(_ count: Int) throws {
        let (plan, _) = try plan(
            Self.head + "matrix: {seed: [1, 2, 3, 4, 5]}\njobs:\n  - {name: a}\n  - {name: b, needs: [a]}\n  - {name: c}\n")
        let shares = try (0..<count).map { try Shard("\($0)/\(count)").share(of: plan) }
        #expect(shares.reduce(0) { $0 + $1.count } == plan.jobs.count)
        #expect(shares.reduce(into: Set<String>()) { $0.formUnion($1) } == Set(plan.jobs.map(\.id)))
        for job in plan.jobs {
            for need in job.needs { #expect(shares.allSatisfy { $0.contains(job.id) == $0.contains(need) }) }
        }
        let names = Set(try (0..<count).map { try Shard("\($0)/\(count)").database(of: "x.vdit.sqlite") })
        #expect(names.count == count)
    }

    @Test(arguments: ["", "1", "2/2", "-1/2", "a/b", "0/0", "1/2/3", "0/999999999999999999999"])
    func sharesOutOfRangeAreRefused(_ text: String) { #expect(throws: BatchError.self) { try Shard(text) } }

    @Test func anArrayTaskFindsItsShareInTheEnvironment() throws {
        #expect(try Shard.ofArrayTask([:]) == nil)
        #expect(try Shard.ofArrayTask(["SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "8"]) == Shard("3/8"))
        #expect(throws: BatchError.self) { try Shard.ofArrayTask(["SLURM_ARRAY_TASK_ID": "8", "SLURM_ARRAY_TASK_COUNT": "8"]) }
    }

    @Test func theSchemaInTheRepositoryIsTheOneOfTheCode() throws {
        let committed = try String(contentsOf: Golden.root.appendingPathComponent("pipelines/schema.json"), encoding: .utf8)
        #expect(committed == PipelineSchema.json + "\n", "run: vdit batch schema > pipelines/schema.json")
    }

    @Test func theSlurmScriptSaysWhatTheFileAsksFor() throws {
        let (plan, _) = try plan(
            Self.head + "matrix: {seed: [1, 2, 3]}\nslurm: {partition: cpu, time: 1-00:00:00, cpus_per_task: 16, mem: 32G, tasks: 8, throttle: 2, warning: 60, extra: [--exclusive]}\n")
        let script = SlurmScript(plan, executable: "/a b/vdit", arguments: ["it's.yaml"], folder: "/x", logs: "/x/out").text
        for line in [
            "#SBATCH --array=0-2%2", "#SBATCH --partition=cpu", "#SBATCH --time=1-00:00:00", "#SBATCH --cpus-per-task=16",
            "#SBATCH --mem=32G", "#SBATCH --signal=B:USR1@60", "#SBATCH --requeue", "#SBATCH --exclusive",
            "'/a b/vdit' batch 'it'\\''s.yaml' --shard \"$SLURM_ARRAY_TASK_ID/3\" &",
        ] { #expect(script.contains(line + "\n"), "\(line)") }
    }
}
