import ArgumentParser
import VDiT

struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Time the parts of a render on this machine.",
        discussion: """
            Example, one attention of Wan2.1-1.3B at 480×832×33 frames:

              vdit bench attention --heads 12 --tokens 14040 --head-dim 128

            Random weights and inputs, one untimed run, then the median of --repeats.
            """,
        subcommands: [BenchAttention.self, BenchLinear.self, BenchLayer.self, BenchPeak.self])

    struct Options: ParsableArguments {
        @OptionGroup var machine: MachineOptions

        @Option(name: .long, parsing: .unconditional, help: ArgumentHelp("Timed runs. Default: 5.", valueName: "n"))
        var repeats = 5

        @Option(name: .long, parsing: .unconditional, help: ArgumentHelp("Of the random values. Default: 0.", valueName: "n"))
        var seed: UInt64 = 0

        @Flag(name: .long, help: "As JSON.")
        var json = false

        func validate() throws {
            guard (1...10_000).contains(repeats) else { throw ValidationError("--repeats must be 1 to 10000") }
        }

        func compute() throws -> ComputeContext {
            let (precision, threads) = try machine.decided()
            return try ComputeContext(threads: threads, precision: precision)
        }

        func show(_ result: some Encodable, _ rows: [[String]]) throws {
            try Console.data(json ? try Format.json(result) : Console.table(rows))
        }
    }

    static func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws {
        guard range.contains(value) else {
            throw ValidationError("--\(name): found \(value), expected \(range.lowerBound) to \(range.upperBound)")
        }
    }
}

struct BenchAttention: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "attention", abstract: "The attention kernel, dense or with random blocks kept.")

    @Option(name: .long, parsing: .unconditional) var heads = 12
    @Option(name: .long, parsing: .unconditional) var tokens = 5040
    @Option(name: .long, parsing: .unconditional) var headDim = 128
    @Option(name: .long, parsing: .unconditional, help: "Tokens of a query and of a key block.") var block = 128
    @Option(name: .long, parsing: .unconditional, help: "Part of the key blocks kept.") var blockDensity = 1.0
    @OptionGroup var options: Bench.Options

    func validate() throws {
        try Bench.check("heads", heads, 1...1024)
        try Bench.check("tokens", tokens, 1...1 << 20)
        try Bench.check("block", block, 1...1 << 16)
        guard AttentionKernel.serves(headDim: headDim) else {
            throw ValidationError("--head-dim: found \(headDim), expected a multiple of 8 from 8 to 256")
        }
        guard blockDensity >= 0, blockDensity <= 1 else {
            throw ValidationError("--block-density: found \(blockDensity), expected 0 to 1")
        }
    }

    func run() throws {
        let compute = try options.compute()
        let result = AttentionBenchmark(
            heads: heads, tokens: tokens, headDim: headDim, precision: compute.precision, block: block,
            blockDensity: blockDensity, seed: options.seed
        ).run(repeats: options.repeats, pool: compute.pool, instructionSet: compute.instructionSet)
        try options.show(
            result,
            [
                ["kernel", "\(result.kernel), \(result.threads) threads"],
                ["density", "\(result.density)"],
                ["median", "\(Format.seconds(result.timing.medianSeconds)), spread \(Format.percent(result.timing.spread))"],
                ["rate", "\(Format.count(result.teraflopsPerSecond * 1e12))FLOP/s"],
                ["error", "\(result.relativeError) relative to float64"],
            ])
    }
}

struct BenchLinear: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "linear", abstract: "A linear layer.")

    @Option(name: .long, parsing: .unconditional, help: "Tokens.") var rows = 5040
    @Option(name: .long, parsing: .unconditional) var inputs = 1536
    @Option(name: .long, parsing: .unconditional) var outputs = 8960
    @Option(name: .long, parsing: .unconditional, help: "Rows of one task.") var chunk = 256
    @OptionGroup var options: Bench.Options

    func validate() throws {
        for (name, value) in [("rows", rows), ("inputs", inputs), ("outputs", outputs), ("chunk", chunk)] {
            try Bench.check(name, value, 1...1 << 20)
        }
    }

    func run() throws {
        let compute = try options.compute()
        let result = try LinearBenchmark(rows: rows, inputs: inputs, outputs: outputs, seed: options.seed)
            .run(repeats: options.repeats, chunk: chunk, compute)
        try options.show(
            result,
            [
                ["median", "\(Format.seconds(result.timing.medianSeconds)), spread \(Format.percent(result.timing.spread))"],
                ["rate", "\(Format.count(result.teraflopsPerSecond * 1e12))FLOP/s"],
                ["error", "\(result.relativeError) relative to float64"],
            ])
    }
}

struct BenchLayer: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "layer", abstract: "One transformer layer, dense or with a sparse method.")

    enum Shape: String, ExpressibleByArgument, CaseIterable {
        case small = "wan2.1-t2v-1.3b"
        case large = "wan2.1-t2v-14b"

        var config: WanTransformerConfig { self == .small ? .wan21T2V1_3B : .wan21T2V14B }
    }

    @Option(name: .long, parsing: .unconditional, help: ArgumentHelp(valueName: "name")) var config = Shape.small
    @Option(name: [.customShort("W"), .long], parsing: .unconditional, help: "Pixels.") var width = 832
    @Option(name: [.customShort("H"), .long], parsing: .unconditional, help: "Pixels.") var height = 480
    @Option(name: [.customLong("num-frames"), .customLong("frames")], parsing: .unconditional) var numFrames = 33
    @Option(name: .long, parsing: .unconditional, help: "Instead of frames: a multiple of a frame's tokens.")
    var tokens: Int?
    @Option(name: .long, parsing: .unconditional, help: "A sparse method.") var sparse = "dense"
    @Option(name: .long, parsing: .unconditionalSingleValue, help: "name=value") var sparseOption: [String] = []
    @Option(name: .long, parsing: .unconditional, help: "Part of the attention kept.") var density: Double?
    @OptionGroup var options: Bench.Options

    func validate() throws {
        try Bench.check("width", width, 16...1 << 14)
        try Bench.check("height", height, 16...1 << 14)
        try Bench.check("num-frames", numFrames, 1...1 << 12)
        guard width % 16 == 0, height % 16 == 0 else { throw ValidationError("sizes must be multiples of 16") }
        guard numFrames % 4 == 1 else { throw ValidationError("--num-frames must be 4k+1") }
        if let tokens { try Bench.check("tokens", tokens, 1...1 << 20) }
    }

    private func layout() throws -> TokenLayout {
        let frame = height / 16 * (width / 16)
        guard let tokens else {
            return TokenLayout(frames: (numFrames - 1) / 4 + 1, height: height / 16, width: width / 16)
        }
        guard tokens % frame == 0 else {
            throw CommandError(
                description: "--tokens: found \(tokens), expected a multiple of \(frame), a frame of \(width)×\(height)")
        }
        return TokenLayout(frames: tokens / frame, height: height / 16, width: width / 16)
    }

    func run() throws {
        let compute = try options.compute()
        let layout = try layout()
        // The one step and the layer that are timed would else be dense ones.
        var wanted = try MethodCatalogue.parse(sparseOption)
        for option in try MethodCatalogue.description(of: sparse).options
        where ["dense-steps", "dense-layers"].contains(option.name) && wanted[option.name] == nil {
            wanted[option.name] = "0"
        }
        let method = try MethodCatalogue.make(name: sparse, options: wanted, density: density, family: "wan")
        let benchmark = LayerBenchmark(
            config: config.config, frames: layout.frames, height: 2 * layout.height, width: 2 * layout.width,
            seed: options.seed)
        let context = try AttentionContext(method, layout: layout)
        let result = try benchmark.run(repeats: options.repeats, compute) { try context.attend($0) }
        let share = result.attention.medianSeconds / result.layer.medianSeconds
        try options.show(
            result,
            [
                ["tokens", "\(result.tokens), \(result.threads) threads"],
                ["layer", "\(Format.seconds(result.layer.medianSeconds)), spread \(Format.percent(result.layer.spread))"],
                ["attention", "\(Format.seconds(result.attention.medianSeconds)), \(Format.percent(share)) of it"],
                ["rate", "\(Format.count(result.teraflopsPerSecond * 1e12))FLOP/s, counted as dense"],
            ])
    }
}

struct BenchPeak: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "peak", abstract: "What the arithmetic units and the memory reach at most.")

    @OptionGroup var options: Bench.Options

    func run() throws {
        let compute = try options.compute()
        let peaks = MachinePeaks.measure(pool: compute.pool, instructionSet: compute.instructionSet)
        func rate(_ teraflops: Double?) -> String { teraflops.map { "\(Format.count($0 * 1e12))FLOP/s" } ?? "none" }
        try options.show(
            peaks,
            [
                ["instruction set", "\(peaks.instructionSet), \(peaks.threads) threads"],
                ["fp32", rate(peaks.fp32)], ["bf16", rate(peaks.bf16)],
                ["memory", "\(Format.count(peaks.readBandwidth * 1e9))B/s read in order"],
            ])
    }
}
