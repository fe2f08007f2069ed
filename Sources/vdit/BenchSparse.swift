import ArgumentParser
import VDiT

struct BenchSparse: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sparse", abstract: "What sparse attention costs beside the pairs it keeps.",
        discussion: """
            The self-attention of Wan2.1-1.3B at 480×832×33 frames:

              vdit bench sparse --heads 12 --tokens 14040 --head-dim 128

            First the kernel on random block masks, what is left out dropped or standing in
            as means, then each method on operands as a video's, where near tokens are
            alike: planning (after a first call, as in a run) and the gathering of keys in
            its order, as parts of dense attention.
            Overhead is the kernel's time over density · dense time, both at their fastest.
            What a method was trained with (gates of vsa, a layer of sla) is made up. A
            method that the size or the density does not suit gets a line that says why.
            """)

    @Option(name: .long, parsing: .unconditional) var heads = 12
    @Option(name: .long, parsing: .unconditional, help: "A multiple of --height · --width.") var tokens = 14040
    @Option(name: .long, parsing: .unconditional) var headDim = 128
    @Option(name: .long, parsing: .unconditional, help: "Token rows of a frame.") var height = 30
    @Option(name: .long, parsing: .unconditional, help: "Token columns of a frame.") var width = 52
    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Separated by commas. Default: all sparse ones.", valueName: "names"))
    var methods: String?
    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Tokens of the random masks' blocks, separated by commas, or none.", valueName: "sizes"))
    var blocks = "64,128"
    @Option(name: .long, parsing: .unconditional, help: "Part of the attention a method keeps. Default: its own.")
    var density: Double?
    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("What methods make of what they leave out, those that have the option.", valueName: "rest"))
    var rest: String?
    @OptionGroup var options: BenchOptions

    func validate() throws {
        for (name, value, most) in [
            ("heads", heads, 1024), ("height", height, 4096), ("width", width, 4096), ("tokens", tokens, 1_000_000),
        ] {
            guard (1...most).contains(value) else { throw ValidationError("--\(name) takes 1 to \(most)") }
        }
        guard AttentionKernel.serves(headDim: headDim) else {
            throw ValidationError("--head-dim: found \(headDim), expected a multiple of 8 from 8 to 256")
        }
        guard tokens % (height * width) == 0 else {
            throw ValidationError("--tokens: found \(tokens), expected a multiple of \(height * width), one frame")
        }
        guard maskBlocks != nil else {
            throw ValidationError(
                "--blocks: found \(blocks), expected none or up to 65536 tokens, \(AttentionPlan.mostBlocks) blocks")
        }
    }

    /// Of the random masks; nil for what is no list of them.
    private var maskBlocks: [Int]? {
        if blocks == "none" { return [] }
        let sizes = blocks.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
        let served = (tokens - 1) / AttentionPlan.mostBlocks + 1...65536
        return sizes.allSatisfy(served.contains) ? sizes : nil
    }

    private func rest(of method: String) -> [String: String] {
        let options = MethodCatalogue.methods.first { $0.name == method }?.options ?? []
        return rest.map { options.contains { $0.name == "rest" } ? ["rest": $0] : [:] } ?? [:]
    }

    func run() throws {
        let names =
            methods?.split(separator: ",").map(String.init)
            ?? MethodCatalogue.methods.map(\.name).filter { $0 != Dense.name }
        let chosen = try names.map {
            try MethodChoice($0, options: rest(of: $0), density: density).withoutWarmUp()
                .configured(forModel: MethodCatalogue.modelOfBareGrids)
        }
        let compute = try options.compute()
        let layout = TokenLayout(frames: tokens / (height * width), height: height, width: width)
        let result = try SparseBenchmark(
            heads: heads, headDim: headDim, layout: layout, precision: compute.precision, seed: options.seed
        ).run(
            blocks: maskBlocks ?? [], densities: [0.5, 0.3, 0.15], methods: chosen, repeats: options.repeats,
            pool: compute.pool, instructionSet: compute.instructionSet)
        if options.json {
            try Console.data(try Format.json(result))
            return
        }
        let dense = Format.seconds(result.dense.medianSeconds)
        let kernel = result.kernel.map {
            [
                "\($0.block)", $0.isPooled ? "pooled" : "dropped", Format.fraction($0.density),
                Format.seconds($0.timing.medianSeconds), Format.fraction($0.overhead),
            ]
        }
        let methods = result.methods.map {
            [
                $0.method, Format.fraction($0.density), Format.seconds($0.planning.medianSeconds),
                Format.seconds($0.firstPlanningSeconds), Format.seconds($0.permutationSeconds),
                Format.percent($0.planningShare), Format.seconds($0.attention.medianSeconds),
                Format.fraction($0.overhead),
            ]
        }
        let tables = [
            [["block", "rest", "density", "time", "overhead"]] + kernel,
            [["method", "density", "planning", "first", "permutation", "both/dense", "attention", "overhead"]]
                + methods,
        ].filter { $0.count > 1 }
        let lines = tables.map { Console.table($0) + "\n" } + result.refused.map { "\($0.method): \($0.reason)" }
        try Console.data(
            """
            \(result.tokens) tokens, \(heads) heads of \(headDim), \(result.instructionSet), \(result.threads) threads
            dense attention \(dense), spread \(Format.percent(result.dense.spread))

            \(lines.joined(separator: "\n"))
            """)
    }
}
