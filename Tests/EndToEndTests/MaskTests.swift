import Testing
import TestSupport
import VDiT

@Suite struct MaskTests {
    let folder: TemporaryDirectory
    let pool = WorkPool(threads: 2)
    let layout = TokenLayout(frames: 9, height: 6, width: 10)

    init() throws { folder = try TemporaryDirectory() }

    @Test func allThreeFilesShowThePlan() throws {
        let plan = try MaskFile.layoutPlan(MethodChoice("radial", options: ["block": "16"]), layout)
        let file = MaskFile(plan: plan, layout: layout)
        for ending in ["png", "npy", "safetensors"] {
            try file.write(to: folder.path("mask.\(ending)"), existing: .refuse, pool: pool)
        }
        let head = plan.head(0)
        let mask = try Npy.read(folder.path("mask.npy"))
        #expect(mask.dtype == .bool && mask.shape == [head.queryBlocks, head.keyBlockCount])
        let stored = try SafetensorsReader(folder.path("mask.safetensors"))
        #expect(try stored.tensor("mask").withBytes { Array($0) } == mask.withBytes { Array($0) })

        let picture = try PNG.read(folder.path("mask.png")).samples
        let (top, left, side) = square(picture)
        #expect(side >= 512 && top > 40)
        let bits = mask.withBytes { Array($0) }
        let pixels = picture.withBytes { Array($0) }
        func middle(_ offsets: [Int32], _ block: Int) -> Int {
            // A quarter into the block: its middle may be the border of a frame.
            (3 * Int(offsets[block]) + Int(offsets[block + 1])) * side / (4 * layout.tokens)
        }
        var kinds = Set<UInt8>()
        for row in 0..<head.queryBlocks {
            for column in 0..<head.keyBlockCount {
                let (y, x) = (top + middle(head.queryOffsets, row), left + middle(head.keyOffsets, column))
                let place = (y * picture.shape[1] + x) * 3
                let isKept = bits[row * head.keyBlockCount + column]
                kinds.insert(isKept)
                #expect((pixels[place] < 128) == (isKept == 1) || isBorder(pixels, place), "\(row), \(column)")
            }
        }
        #expect(kinds == [0, 1])
    }

    /// Where the map of a picture of one head lies: below titles and frame numbers, above the colours' bar.
    private func square(_ picture: Tensor) -> (top: Int, left: Int, side: Int) {
        let side = picture.shape[1] - 40
        return (picture.shape[0] - 39 - side, 32, side)
    }

    private func isBorder(_ pixels: [UInt8], _ place: Int) -> Bool { Int(pixels[place]) > Int(pixels[place + 2]) + 20 }

    @Test func tokenOrderPutsAReorderedMaskBack() throws {
        let plan = try MaskFile.layoutPlan(
            MethodChoice("rettention", options: ["kept": "0.1", "positions-per-block": "1"]), layout)
        var file = MaskFile(plan: plan, layout: layout)
        file.order = .tokens
        try file.write(to: folder.path("mask.png"), existing: .refuse, pool: pool)
        let picture = try PNG.read(folder.path("mask.png")).samples
        let pixels = picture.withBytes { Array($0) }
        let (top, left, side) = square(picture)
        let scale = side / layout.tokens
        // Every query sees its own position in every frame, and not the one half a frame away.
        let half = layout.tokensPerFrame / 2
        for frame in 0..<layout.frames {
            func pixel(_ query: Int, _ key: Int) -> UInt8 {
                pixels[((top + query * scale + scale / 2) * picture.shape[1] + left + key * scale + scale / 2) * 3]
            }
            let key = frame * layout.tokensPerFrame + 20
            #expect(pixel(20, key) < 128)
            #expect(pixel(20, key + half - 5) > 128)
        }
    }

    /// Text in front of the video and behind it has its own strip with a line at its end, also where a method's order
    /// leaves no frame together, and its name beside it.
    @Test(arguments: [(24, 0), (0, 24)])
    func textIsMarked(_ before: Int, _ after: Int) throws {
        func picture(_ layout: TokenLayout) throws -> Tensor {
            let method = try MethodChoice("rettention", options: ["kept": "0.1", "positions-per-block": "1"])
            let file = MaskFile(plan: try MaskFile.layoutPlan(method, layout), layout: layout)
            try file.write(to: folder.path("mask.png"), existing: .replace, pool: pool)
            return try PNG.read(folder.path("mask.png")).samples
        }
        /// Pixels of the names' shade above a map and left of it.
        func names(_ picture: Tensor) -> (above: [Int], left: [Int]) {
            let (top, left, side) = square(picture)
            func isName(_ y: Int, _ x: Int) -> Bool {
                picture[y][x].withBytes { Array($0) } == [96, 96, 96]
            }
            return (
                (0..<side + 8).filter { x in (top - 13..<top).contains { isName($0, left + x) } },
                (0..<side).filter { y in (2..<left).contains { isName(top + y, $0) } }
            )
        }
        let layout = TokenLayout(frames: 9, height: 6, width: 10, textBefore: before, textAfter: after)
        let marked = try picture(layout)
        let (top, left, side) = square(marked)
        let strip = before > 0 ? 0..<before * side / layout.tokens : (side - after * side / layout.tokens)..<side
        let (above, beside) = names(marked)
        #expect(!above.isEmpty && !beside.isEmpty)
        #expect(beside.allSatisfy { strip.contains($0) }, "\(beside)")
        #expect(above.allSatisfy { (strip.lowerBound - 28..<strip.upperBound + 28).contains($0) }, "\(above)")
        let edge = before > 0 ? strip.upperBound : strip.lowerBound
        let bytes = marked[top + side / 2][left + edge].withBytes { Array($0) }
        #expect(isBorder(bytes, 0), "\(bytes)")
        let (none, nothing) = names(try picture(TokenLayout(frames: 9, height: 6, width: 10)))
        #expect(none.isEmpty && nothing.isEmpty)
    }

    @Test func aDynamicMaskComesFromARunOfTheModel() throws {
        var probe = try AttentionProbe(
            RenderJob(
                model: Golden.sample("wan-mini"), promptEmbedding: Golden.sample("prompts/01-red-ball-right.safetensors"),
                destination: VideoDestination(path: "")),
            method: MethodChoice("draft", options: ["pool-height": "2", "pool-width": "2"], density: 0.5))
        probe.job.request.width = 96
        probe.job.request.height = 64
        probe.job.request.numFrames = 9
        probe.job.request.steps = 2
        probe.job.request.seed = 1
        probe.job.request.threads = 2
        probe.job.request.guidanceScale = 1
        probe.step = 1
        probe.layer = 2
        let observation = try probe.run().observation
        #expect(observation.call.step == 1 && observation.call.site.layer == 2)
        let plan = try #require(observation.plans.last)
        #expect(abs(plan.density(tokens: observation.call.tokens) - 0.5) < 0.1)
        // The method alone, on the operands of the run, decides the same: nothing else was in its way.
        let alone = try AttentionContext(
            probe.method.withoutWarmUp().configured(forModel: "wan-mini"), layout: observation.call.layout)
        var again: AttentionPlan?
        alone.observer = { again = $0.plans.last }
        _ = try alone.attend(observation.call)
        #expect(again == plan)

        // A render's own trajectory has the method's dense steps and layers.
        probe.trajectory = .sparse
        probe.method = try MethodChoice(
            "draft", options: probe.method.options.merging(["dense-steps": "1", "dense-layers": "3"]) { $1 },
            density: probe.method.density)
        let dense = try probe.run()
        #expect(dense.observation.plans == [.dense(tokens: observation.call.tokens)])
        #expect(dense.notices.contains { $0.contains("dense-steps 0") })
    }
}
