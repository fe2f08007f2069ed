import TestSupport
import Testing
import VDiT

/// The table of settings: what checkpoints, records and pipeline files rely on.
struct SettingTableTests {
    static let model = Result { try ModelDirectory(path: Golden.sample("wan-mini")) }

    static func settings(_ change: (inout RenderRequest) throws -> Void = { _ in }) throws -> RenderSettings {
        var request = RenderRequest()
        try change(&request)
        return try RenderSettings(
            request, model: model.get().specification, sampler: model.get().scheduler)
    }

    @Test func namesAreSnakeCaseAndThereOnce() {
        let names = SettingTable.all.map(\.name)
        #expect(Set(names).count == names.count)
        for name in names {
            #expect(name.allSatisfy { $0.isLowercase || $0.isNumber || $0 == "_" }, "\(name)")
        }
    }

    /// A checkpoint goes on only with a run that agrees in all of these.
    @Test func whatLatentsDependOnHasTheNamesThatCheckpointsHave() {
        let decided = SettingTable.all.filter { $0.effect == .latents && $0.group != .inputs }.map(\.name)
        #expect(
            decided.sorted() == [
                "attention_precision", "cache", "cache_budget", "cache_calibration", "cache_options",
                "decode_noise_scale", "decode_timestep",
                "density", "embedded_guidance", "flow_shift", "guidance_interval", "guidance_rescale", "guidance_scale",
                "guidance_scale_2", "guidance_schedule",
                "height", "latents",
                "num_frames", "precision", "scheduler", "seed", "sigma_spacing", "sigmas",
                "size_shifts", "sizes", "sparse", "sparse_options", "sparse_table",
                "steps", "timesteps", "weights", "width",
            ])
    }

    @Test func theReferenceTakesNoInt8Scores() throws {
        let settings = try Self.settings {
            $0.precision = .int8
            $0.attentionPrecision = .int8
        }
        let row = settings.table.first { $0.name == "attention_precision" }
        #expect(settings.precision == .int8 && settings.attentionPrecision == .int8 && row?.value == "int8")
        #expect(try !Self.settings().table.contains { $0.name == "attention_precision" })
        #expect(throws: PipelineError.self) {
            try Self.settings {
                $0.precision = .fp32
                $0.attentionPrecision = .int8
            }
        }
    }

    @Test func tablesShowSettingsInTheOrderThatFingerprintsHave() throws {
        let table = try Self.settings {
            $0.sparse = "radial"
            $0.sparseOptions = ["decay": "0.3"]
        }.table.map(\.name)
        #expect(
            table == [
                "width", "height", "num_frames", "fps", "steps", "guidance_scale", "guidance_interval", "scheduler",
                "flow_shift", "sigma_spacing", "seed", "precision", "threads", "sparse", "sparse_options",
            ])
        let shown = Dictionary(
            uniqueKeysWithValues: try Self.settings { $0.scheduler = .dpmpp2m }.table.map { ($0.name, $0.value) })
        #expect(shown["scheduler"] == "dpmpp2m" && shown["guidance_interval"] == "0:1" && shown["sigma_spacing"] == nil)
    }

    @Test func oneRuleDecidesTheSeed() throws {
        #expect(try Self.settings { $0.unseeded = .fixed(3) }.seed == 3)
        #expect(try Self.settings { $0.unseeded = .remembered(4) }.seed == 4)
        #expect(
            try Self.settings {
                $0.unseeded = .remembered(4)
                $0.seed = 5
            }.seed == 5)
        #expect(try Self.settings().seed != Self.settings().seed)
    }

    static let faults: [(String, @Sendable (inout RenderRequest) -> Void)] = [
        ("width", { $0.width = 17 }), ("height", { $0.height = 0 }), ("num_frames", { $0.numFrames = 6 }),
        ("steps", { $0.steps = 0 }), ("guidance_scale", { $0.guidanceScale = -1 }),
        ("guidance_scale_2", { $0.secondGuidanceScale = 3 }),
        ("guidance_interval", { $0.guidanceInterval = GuidanceInterval(0.9, 0.1) }), ("seed", { $0.seed = -1 }),
        ("threads", { $0.threads = 0 }), ("density", { $0.density = 2 }),
        ("sigma_spacing", { ($0.scheduler, $0.sigmaSpacing) = (.euler, .original) }),
    ]

    @Test(arguments: faults.indices)
    func aFailureNamesItsSetting(_ index: Int) throws {
        let (name, change) = Self.faults[index]
        let error = try #require(throws: (any Error).self) { try Self.settings(change) }
        let failure = try #require(error as? any Failure)
        #expect(failure.setting == name && failure.kind == .usage, "\(failure)")
        #expect(failure.description.hasPrefix("\(name): "))
    }

    @Test func aFileAtFaultIsBlamedOnItsSetting() throws {
        let folder = try TemporaryDirectory()
        func fault(_ change: (inout RenderJob) -> Void) throws -> String? {
            var job = RenderJob(
                model: Golden.sample("wan-mini"), promptEmbedding: Golden.sample("prompts/empty.safetensors"),
                destination: VideoDestination(path: folder.path("a.mkv")))
            change(&job)
            let error = try #require(throws: (any Error).self) { try Renderer(job, model: Self.model.get()) }
            return (error as? any Failure)?.setting
        }
        #expect(try fault { $0.prompt = .embedding("none.npy") } == "prompt_embedding")
        #expect(try fault { $0.negativePrompt = .embedding("none.npy") } == "negative_prompt_embedding")
        #expect(try fault { $0.latents = "none.safetensors" } == "latents")
        #expect(try fault { $0.saveLatents = folder.path("none/l.safetensors") } == "save_latents")
        #expect(try fault { $0.destination.contactSheet = folder.path("none/s.png") } == "contact_sheet")
        #expect(try fault { $0.destination.path = folder.path("none/a.mkv") } == "output")
        #expect(try fault { $0.destination.options.crf = 99 } == "crf")
        #expect(try fault { $0.request.sparse = "radiall" } == "sparse")
        #expect(
            try fault { ($0.request.sparse, $0.request.sparseOptions) = ("radial", ["x": "1"]) } == "sparse_options")
        #expect(try fault { $0.request.density = 0.5 } == "density")
    }
}
