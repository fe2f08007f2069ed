import ArgumentParser
import VDiT

struct BenchSparse: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sparse", abstract: "What sparse attention costs beside the pairs it keeps.",
        discussion: """
            The self-attention of Wan2.1-1.3B at 480×832×33 frames:

              vdit bench sparse --heads 12 --tokens 14040 --head-dim 128

            First the kernel on random block masks, then each method on random operands:
            planning (after a first call, as in a run) and the gathering of keys in its
            order, as parts of dense attention. Overhead is the kernel's time over
            density · dense time, both at their fastest.
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
    @Option(name: .long, parsing: .unconditional, help: "Part of the attention a method keeps. Default: its own.")
    var density: Double?
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
    }

    func run() throws {
        let names =
            methods?.split(separator: ",").map(String.init)
            ?? MethodCatalogue.methods.filter { $0.trained == nil }.map(\.name).filter { $0 != Dense.name }
        let chosen = try names.map {
            try MethodChoice($0, density: density).withoutWarmUp()
                .configured(forModel: MethodCatalogue.modelOfBareGrids)
        }
        let compute = try options.compute()
        let layout = TokenLayout(frames: tokens / (height * width), height: height, width: width)
        let result = try SparseBenchmark(
            heads: heads, headDim: headDim, layout: layout, precision: compute.precision, seed: options.seed
        ).run(
            blocks: [64, 128], densities: [0.5, 0.3, 0.15], methods: chosen, repeats: options.repeats,
            pool: compute.pool, instructionSet: compute.instructionSet)
        if options.json {
            try Console.data(try Format.json(result))
            return
        }
        let dense = Format.seconds(result.dense.medianSeconds)
        let kernel = result.kernel.map {
            [
                "\($0.block)", Format.fraction($0.density), Format.seconds($0.timing.medianSeconds),
                Format.fraction($0.overhead),
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
        try Console.data(
            """
            \(result.tokens) tokens, \(heads) heads of \(headDim), \(result.instructionSet), \(result.threads) threads
            dense attention \(dense), spread \(Format.percent(result.dense.spread))

            \(Console.table([["block", "density", "time", "overhead"]] + kernel))

            \(Console.table([
                ["method", "density", "planning", "first", "permutation", "both/dense", "attention", "overhead"]
            ] + methods))
            """)
    }
}
