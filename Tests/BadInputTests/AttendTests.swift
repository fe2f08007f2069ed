import Glibc
import Testing
import TestSupport
import VDiT

@Suite struct AttendTests {
    let folder: TemporaryDirectory
    let layout = TokenLayout(frames: 3, height: 2, width: 4)

    init() throws { folder = try TemporaryDirectory() }

    /// The error of attending these tensors, which must leave no output.
    private func error(
        _ tensors: [String: Tensor], _ change: (inout AttendJob) -> Void = { _ in }
    ) throws -> (any Failure)? {
        let input = folder.path("in.safetensors")
        try SafetensorsWriter.write(tensors, to: input, existing: .replace)
        var job = AttendJob(
            method: .dense, layout: layout, inputs: input, output: folder.path("out.safetensors"))
        change(&job)
        do {
            _ = try job.run()
            return nil
        } catch let failure as any Failure {
            #expect(folder.contents == ["in.safetensors"])
            #expect(!failure.description.contains("\n"))
            return failure
        }
    }

    private func tensors(_ shape: [Int] = [2, 24, 16], names: [String] = ["q", "k", "v"]) -> [String: Tensor] {
        Dictionary(uniqueKeysWithValues: names.map { ($0, Tensor(.f32, shape)) })
    }

    @Test(arguments: [
        (["a", "b"], "q, k, v or q.0"), (["q", "k"], "v"), (["q", "k", "v", "q.0"], "one of them"),
        (["q.0", "k.0", "v.0", "q.2", "k.2", "v.2"], "none of step 1"), (["q.0", "k.0", "v.0", "k.1", "v.1"], "q.1"),
    ])
    func missingTensorsAreNamed(_ names: [String], _ words: String) throws {
        let failure = try #require(try error(tensors(names: names)))
        #expect(failure.kind == .badData)
        #expect(failure.description.contains(words), "\(failure.description)")
    }

    @Test func shapesAndTypesThatDoNotFitAreRefused() throws {
        var cases: [([String: Tensor], String)] = [
            (tensors([2, 25, 16]), "25 tokens, expected 24: 3×2×4"), (tensors([2, 24, 12]), "head_dim 12"),
            (tensors([24, 16]), "[heads, tokens, head_dim]"), (tensors([2, 2, 24, 16]), "[heads, tokens, head_dim]"),
            (tensors([0, 24, 16]), "[heads, tokens, head_dim]"),
        ]
        var other = tensors()
        other["k"] = Tensor(.f32, [1, 24, 16])
        cases.append((other, "as q has"))
        other["k"] = Tensor(.i32, [2, 24, 16])
        cases.append((other, "k: found I32"))
        other["k"] = Tensor([Float](repeating: .nan, count: 768), shape: [2, 24, 16])
        cases.append((other, "k: found NaN or infinity"))
        for (tensors, words) in cases {
            let failure = try #require(try error(tensors))
            #expect(failure.kind == .badData)
            #expect(failure.description.contains(words), "\(failure.description)")
        }
    }

    /// A state is a file's, whoever wrote it.
    @Test func statesThatAreNoneAreRefusedByName() throws {
        let centroids = ["query-centroids", "key-centroids"].map { ("learned.\($0)", Tensor(.f32, [2, 2, 16])) }
        let ratio = [
            ("learned.ratio", Tensor([Float](repeating: 1, count: 48), shape: [2, 24])),
            ("learned.residual", Tensor(.bf16, [24, 2, 16])), ("learned.refreshed-step", Tensor([0])),
        ]
        let masses = [("learned.mass-levels", Tensor(.u8, [2, 2, 2])), ("learned.measured-steps", Tensor([0, 0]))]
        let cases: [(String, [(String, Tensor)], String)] = [
            ("dense", centroids, "state of dense"), ("svg2", [("learned.centroids", centroids[0].1)], "state of svg2"),
            ("svg2", [centroids[0]], "learned.key-centroids beside learned.query-centroids"),
            ("svg2", [centroids[0], ("learned.key-centroids", Tensor(.bf16, [2, 2, 16]))], "expected F32"),
            ("svg2", [centroids[0], ("learned.key-centroids", Tensor(.f32, [2, 9, 16]))], "found F32 [2, 9, 16]"),
            ("svg2", [centroids[0], ("learned.key-centroids", Tensor([Float.nan], shape: [1, 1, 1]))], "NaN"),
            ("rettention", [ratio[0], ratio[1], ("learned.refreshed-step", Tensor(.u8, [1]))], "expected F32 [1]"),
            ("rettention", [ratio[0], ratio[1], ("learned.refreshed-step", Tensor(.f32, [0]))], "expected F32 [1]"),
            ("rettention", [ratio[0], ratio[2], ("learned.residual", Tensor(.f32, [24, 2, 16]))], "expected BF16"),
            ("mass", [masses[0], ("learned.measured-steps", Tensor([1, 2, 3]))], "expected F32 [2]"),
            ("mass", [masses[0], ("learned.measured-steps", Tensor(.i64, [2]))], "expected F32 [2]"),
            ("mass", [masses[1], ("learned.mass-levels", Tensor(.u8, [2, 3, 2]))], "expected U8"),
        ]
        for (method, state, words) in cases {
            let options = ["svg2": ["query-clusters": "2", "key-clusters": "2"], "mass": ["residual": "0"]][method]
            let choice = try MethodChoice(method, options: options ?? [:])
            let all = tensors().merging(state) { $1 }
            let failure = try #require(try error(all) { ($0.method, $0.step) = (choice, 1) }, "\(method) \(words)")
            #expect(failure.kind == .badData && failure.description.contains(words), "\(failure.description)")
        }
    }

    /// Numbers no run would learn are numbers all the same.
    @Test(arguments: [Float(1e38), -1e38, 0, 0.5, 1e-40])
    func statesOfAnyNumbersAreTaken(_ number: Float) throws {
        func filled(_ count: Int, _ shape: [Int]) -> Tensor {
            Tensor([Float](repeating: number, count: count), shape: shape)
        }
        let states: [(String, [String: Tensor])] = [
            ("svg2", ["query-centroids": filled(64, [2, 2, 16]), "key-centroids": filled(64, [2, 2, 16])]),
            ("rettention", [
                "ratio": filled(48, [2, 24]), "residual": filled(768, [24, 2, 16]).converted(to: .bf16),
                "refreshed-step": filled(1, [1]),
            ]),
            ("adaspa", ["mask": Tensor(.u8, [2, 1, 1]), "measured-steps": filled(2, [2])]),
        ]
        for (method, state) in states {
            let options = method == "svg2" ? ["query-clusters": "2", "key-clusters": "2"] : [:]
            let choice = try MethodChoice(method, options: options)
            let named = Dictionary(uniqueKeysWithValues: state.map { ("learned.\($0)", $1) })
            let failure = try error(tensors().merging(named) { $1 }) { job in
                (job.method, job.step, job.existing) = (choice, 1, .replace)
            }
            #expect(failure == nil, "\(failure.map(\.description) ?? "")")
            for name in folder.contents where name != "in.safetensors" { unlink(folder.path(name)) }
        }
    }

    @Test func placesOutsideTheLoopAreRefused() throws {
        for change: (inout AttendJob) -> Void in [
            { $0.step = -1 }, { $0.step = .max }, { $0.steps = 0 }, { $0.step = 5; $0.steps = 5 }, { $0.layer = -1 },
            { $0.layer = .max }, { $0.steps = .max },
        ] {
            #expect(try error(tensors(), change)?.kind == .usage)
        }
    }

    @Test func methodsAndOptionsAreCheckedFirst() throws {
        let unknown = #expect(throws: ChoiceError.self) { try MethodChoice("radia") }
        #expect(unknown?.description.contains("unknown") == true)
        let other = #expect(throws: ChoiceError.self) { try MethodChoice("radial", options: ["top-p": "0.5"]) }
        #expect(other?.description.contains("belongs to svg2") == true)
        let density = #expect(throws: ChoiceError.self) { try MethodChoice("radial", density: 1.5) }
        #expect(density?.kind == .usage)
        #expect(try error(tensors()) { $0.inputs = $0.inputs + ".missing" }?.kind == .missingInput)
        #expect(try error(tensors()) { $0.output = "/no/such/folder/out.safetensors" }?.kind == .cannotCreate)
    }

    @Test(arguments: [(0, 1, 1, 0), (1, -1, 1, 0), (1, 1, .max, 0), (1 << 20, 1 << 20, 1 << 20, 0), (1, 1, 1, -1)])
    func gridsThatAreNoSizeAreRefused(_ frames: Int, _ height: Int, _ width: Int, _ text: Int) {
        #expect(throws: PipelineError.self) {
            try tokenLayout(frames: frames, height: height, width: width, textAfter: text)
        }
    }

    @Test func masksSayWhatTheyNeed() throws {
        let dynamic = #expect(throws: PipelineError.self) { try MaskFile.layoutPlan(MethodChoice("svg2"), layout) }
        #expect(dynamic?.description.contains("a model and a prompt embedding") == true)
        let plan = try MaskFile.layoutPlan(MethodChoice("radial"), layout)
        var file = MaskFile(plan: plan, layout: layout)
        let pool = WorkPool(threads: 1)
        #expect(throws: PipelineError.self) {
            try file.write(to: folder.path("mask.jpg"), existing: .refuse, pool: pool)
        }
        file.head = -1
        #expect(throws: PipelineError.self) {
            try file.write(to: folder.path("mask.png"), existing: .refuse, pool: pool)
        }
        #expect(folder.contents.isEmpty)
    }

    @Test func probesCheckStepAndLayerBeforeTheyRun() throws {
        var probe = try AttentionProbe(
            RenderJob(
                model: Golden.sample("wan-mini"), promptEmbedding: Golden.sample("prompts/01-red-ball-right.safetensors"),
                destination: VideoDestination(path: "")),
            method: MethodChoice("draft"))
        probe.job.request.steps = 4
        probe.job.request.guidanceScale = 1
        for change: (inout AttentionProbe) -> Void in [
            { $0.step = 4 }, { $0.step = -1 }, { $0.layer = 99 }, { $0.branch = .unconditional },
        ] {
            var wrong = probe
            change(&wrong)
            let failure = #expect(throws: PipelineError.self) { try wrong.run() }
            #expect(failure?.kind == .usage)
        }
    }
}
