import ArgumentParser
import VDiT

struct Bench: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure speed: attention, linear layers, a layer, loading, caches, the decoder, this machine's peak.",
        discussion: """
            Random weights and inputs, in the sizes given. Each prints the median of its
            repeats, the work done, and the fraction of the peak this machine reaches,
            measured in the same run:

              vdit bench attention --heads 4 --tokens 5040 --head-dim 128
              vdit bench layer --config wan2.1-t2v-1.3b --size 832x480 --num-frames 33 \\
                  --sparse radial
            """,
        subcommands: [
            BenchAttention.self, BenchSparse.self, BenchLinear.self, BenchLayer.self, BenchDecode.self,
            BenchLoad.self, BenchCache.self, BenchPeak.self, BenchCheckpoint.self,
        ])
}

/// What every benchmark takes.
struct BenchOptions: ParsableArguments {
    @OptionGroup var machine: MachineOptions

    @Option(parsing: .unconditional, help: ArgumentHelp("Timed runs, after one that warms up. Default: 5.", valueName: "n"))
    var repeats = 5

    @Option(parsing: .unconditional, help: ArgumentHelp("Of the random inputs. Default: 0.", valueName: "n"))
    var seed: UInt64 = 0

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        guard (1...10_000).contains(repeats) else { throw ValidationError("--repeats takes 1 to 10000") }
    }

    func compute() throws -> ComputeContext {
        let (precision, threads, numa) = try machine.decided()
        let compute = try ComputeContext(threads: threads, numa: numa, precision: precision)
        for notice in compute.notices { Console.note(notice) }
        return compute
    }

    /// Prints what was measured; `flops` of one run, if there is a sensible count.
    func report(
        _ name: String, _ timing: Timing, flops: Double?, _ compute: ComputeContext, error: Double? = nil,
        implementation: String? = nil, density: Double? = nil, attention: Timing? = nil,
        notes: [String: Double] = [:]
    ) throws {
        let peaks = MachinePeaks.measure(pool: compute.pool, instructionSet: compute.instructionSet)
        let rate = flops.map { $0 / timing.medianSeconds / 1e12 }
        let peak = peaks.teraflops(compute.precision)
        let report = BenchReport(
            bench: name, instructionSet: "\(compute.instructionSet)", precision: compute.precision,
            threads: compute.pool.threads, seconds: timing.seconds, medianSeconds: timing.medianSeconds,
            spread: timing.spread, flops: flops, teraflopsPerSecond: rate,
            peakTeraflopsPerSecond: peak, fractionOfPeak: rate.flatMap { rate in peak.map { rate / $0 } },
            readBandwidthGbPerSecond: peaks.readBandwidth, relativeError: error,
            implementation: implementation, density: density, attentionSeconds: attention?.medianSeconds,
            notes: notes.isEmpty ? nil : notes)
        try Console.data(json ? try Format.json(report) : report.text)
    }
}

struct BenchReport: Encodable {
    let bench: String
    let instructionSet: String
    let precision: Precision
    let threads: Int
    let seconds: [Double]
    let medianSeconds: Double
    /// Slowest less fastest, over the median.
    let spread: Double
    let flops: Double?
    let teraflopsPerSecond: Double?
    let peakTeraflopsPerSecond: Double?
    let fractionOfPeak: Double?
    let readBandwidthGbPerSecond: Double
    let relativeError: Double?
    /// Of a matrix product.
    let implementation: String?
    /// Of token pairs, where attention is sparse.
    let density: Double?
    let attentionSeconds: Double?
    let notes: [String: Double]?

    var text: String {
        var rows = [
            ["time", "\(Format.seconds(medianSeconds)) (median of \(seconds.count), spread \(Format.percent(spread)))"],
            ["machine", "\(instructionSet), \(precision), \(threads) threads"],
        ]
        if let attentionSeconds {
            rows.append(["attention", "\(Format.seconds(attentionSeconds)) of it, planning included"])
        }
        if let implementation { rows.append(["product", implementation]) }
        if let density { rows.append(["density", Format.percent(density)]) }
        if let flops { rows.append(["work", "\(Format.count(flops))FLOP"]) }
        if let teraflopsPerSecond {
            let part = fractionOfPeak.map { ", \(Format.percent($0)) of the measured peak" } ?? ""
            rows.append(["rate", "\(Format.count(teraflopsPerSecond * 1e12))FLOP/s\(part)"])
        }
        if let relativeError { rows.append(["error", "\(Float(relativeError)) relative, against float64"]) }
        for (name, value) in (notes ?? [:]).sorted(by: { $0.key < $1.key }) {
            rows.append([name, Format.count(value)])
        }
        return Console.table([["\(bench):"]] + rows)
    }
}

struct BenchAttention: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "attention", abstract: "The attention kernel, dense or with random kept blocks.")

    @Option(parsing: .unconditional) var heads = 12
    @Option(parsing: .unconditional) var tokens = 5040
    @Option(parsing: .unconditional) var headDim = 128
    @Option(parsing: .unconditional, help: "Tokens of a block.") var block = 128
    @Option(parsing: .unconditional, help: "Fraction of key blocks kept, drawn at random.") var blockDensity = 1.0
    @Option(help: "Of the scores. Default: int8 with --precision int8, else that.")
    var attentionPrecision: AttentionPrecision?
    @OptionGroup var options: BenchOptions

    func validate() throws {
        guard (1...1024).contains(heads) else { throw ValidationError("--heads takes 1 to 1024") }
        guard (1...1_000_000).contains(tokens) else { throw ValidationError("--tokens takes 1 to 1000000") }
        guard AttentionKernel.serves(headDim: headDim) else {
            throw ValidationError("--head-dim takes a multiple of 8 up to 256")
        }
        guard (1...65536).contains(block) else { throw ValidationError("--block takes 1 to 65536") }
        guard (tokens - 1) / block < AttentionPlan.mostBlocks else {
            throw ValidationError("--block: --tokens makes more than \(AttentionPlan.mostBlocks) of them")
        }
        guard blockDensity > 0, blockDensity <= 1 else { throw ValidationError("--block-density takes 0 < x <= 1") }
    }

    func run() throws {
        let compute = try options.compute()
        let result = AttentionBenchmark(
            heads: heads, tokens: tokens, headDim: headDim, precision: compute.precision, block: block,
            blockDensity: blockDensity, seed: options.seed,
            scores: attentionPrecision ?? (compute.precision == .int8 ? .int8 : nil)
        ).run(repeats: options.repeats, pool: compute.pool, instructionSet: compute.instructionSet)
        try options.report(
            "attention", result.timing, flops: result.flops, compute, error: result.relativeError,
            implementation: result.kernel, density: result.density)
    }
}

struct BenchLinear: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "linear", abstract: "A linear layer on packed weights, in chunks of rows.")

    @Option(parsing: .unconditional) var rows = 14040
    @Option(parsing: .unconditional) var inputs = 1536
    @Option(parsing: .unconditional) var outputs = 8960
    @Option(parsing: .unconditional, help: "Rows of one task.") var chunk = 256
    @OptionGroup var options: BenchOptions

    func validate() throws {
        for (name, value) in [("rows", rows), ("inputs", inputs), ("outputs", outputs), ("chunk", chunk)] {
            guard (1...1_000_000).contains(value) else { throw ValidationError("--\(name) takes 1 to 1000000") }
        }
        guard rows * max(inputs, outputs) <= 1 << 32, inputs * outputs <= 1 << 32 else {
            throw ValidationError("these sizes make a matrix of more than 4 G values")
        }
    }

    func run() throws {
        let compute = try options.compute()
        let result = try LinearBenchmark(rows: rows, inputs: inputs, outputs: outputs, seed: options.seed)
            .run(repeats: options.repeats, chunk: chunk, compute)
        try options.report(
            "linear", result.timing, flops: result.flops, compute, error: result.relativeError,
            implementation: result.implementation)
    }
}

struct BenchLayer: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "layer", abstract: "One transformer layer with random weights, dense or sparse.")

    @OptionGroup var model: BenchModel
    @Option(help: ArgumentHelp("A sparse method; 'vdit methods' lists them.", valueName: "method"))
    var sparse: String?
    @Option(name: .customLong("sparse-option"), help: ArgumentHelp("An option of the method.", valueName: "name=value"))
    var sparseOptions: [String] = []
    @Option(parsing: .unconditional, help: "Fraction of token pairs the method should keep.") var density: Double?
    @Option(help: "Of the scores of self-attention. Default: as --precision, or bf16.")
    var attentionPrecision: AttentionPrecision?
    @Option(help: "Alternate with the layer, and its scores, in another precision, and print the ratio.")
    var against: Precision?
    @Option(parsing: .unconditional, help: "Instead of --num-frames: a multiple of the tokens of a frame.")
    var tokens: Int?
    @OptionGroup var size: BenchSize
    @OptionGroup var options: BenchOptions

    func run() throws {
        let specification = try model.published().specification
        var latents = try size.latents(specification)
        if let tokens {
            latents.frames = specification.transformer.patchExtents.frames
            let frame = try specification.transformer.tokenLayout(latents, textTokens: 0).videoTokens
            guard tokens > 0, tokens % frame == 0, tokens / frame <= 1024 else {
                throw CommandError(
                    description: "--tokens: found \(tokens), expected a multiple of \(frame) up to \(1024 * frame)")
            }
            latents.frames *= tokens / frame
        }
        let compute = try options.compute()
        let textTokens = specification.defaults.textLength ?? 512
        let benchmark = LayerBenchmark(
            specification.transformer, latents: latents, textTokens: textTokens, seed: options.seed)
        let layout = try specification.transformer.tokenLayout(latents, textTokens: textTokens)
        let method = try MethodChoice(
            sparse ?? Dense.name, options: try MethodCatalogue.parse(sparseOptions), density: density
        ).configured(forModel: specification.defaults.name)
        func load(
            _ compute: ComputeContext, _ scores: AttentionPrecision?
        ) throws -> (AttentionContext, LayerBenchmark.LoadedLayer) {
            let context = try AttentionContext(method, layout: layout, precision: scores)
            // Layers and steps past every warm-up, so that the method itself is timed.
            var step = 40
            let layer = try LayerBenchmark.LoadedLayer(benchmark, compute, trained: context.trained) { call in
                if call.site.layer == 0 { step += 1 }
                return try context.attend(
                    AttentionCall(
                        q: call.q, k: call.k, v: call.v, gate: call.gate, projection: call.projection,
                        scale: call.scale, layout: call.layout,
                        site: AttentionSite(layer: 20 + call.site.layer, branch: call.site.branch), step: step,
                        steps: 50, pool: call.pool, instructionSet: call.instructionSet))
            }
            return (context, layer)
        }
        let (context, layer) = try load(compute, attentionPrecision)
        let other = try against.map { precision in
            try load(
                ComputeContext(pool: compute.pool, instructionSet: compute.instructionSet, precision: precision), nil).1
        }
        for _ in 0...options.repeats {
            try layer.pass()
            try other?.pass()
        }
        let result = layer.result
        let kept = context.statistics.sparseDensity ?? 1
        let calls = try specification.defaults.calls
        let run = result.layer.medianSeconds * Double(specification.transformer.layers * calls)
        var notes = [
            "tokens": Double(result.tokens), "weight bytes": Double(result.weightBytes),
            "seconds of all \(specification.transformer.layers) layers in \(calls) calls": run,
        ]
        if let against, let other = other?.result.layer {
            notes["seconds in \(against)"] = other.medianSeconds
            notes["times as fast as \(against)"] =
                Timing(seconds: zip(other.seconds, result.layer.seconds).map { $0 / $1 }).medianSeconds
        }
        try options.report(
            "layer", result.layer,
            flops: result.flops - result.attentionFlops * (1 - kept), compute,
            density: sparse == nil ? nil : kept, attention: result.attention, notes: notes)
    }
}

struct BenchDecode: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "decode", abstract: "A model's VAE decoder with random weights.")

    @OptionGroup var model: BenchModel
    @OptionGroup var size: BenchSize
    @Flag(help: "A tiny autoencoder's decoder of the same latents.") var tiny = false
    @OptionGroup var options: BenchOptions

    func run() throws {
        let specification = try model.published().specification
        var decoder = specification.decoder
        if tiny {
            let small = TinyVAEConfig(
                latentChannels: decoder.latentChannels, patch: max(1, decoder.spatialCompression / 8))
            guard small.temporalCompression == decoder.temporalCompression else {
                throw ValidationError("no tiny autoencoder has the latents of \(specification.defaults.name)")
            }
            decoder = small
        }
        let compute = try options.compute()
        let result = try DecodeBenchmark(
            decoder, latents: size.latents(specification), seed: options.seed
        ).run(repeats: options.repeats, compute)
        try options.report(
            "decode", result.timing, flops: nil, compute,
            notes: [
                "frames": Double(result.videoFrames), "weight bytes": Double(result.weightBytes),
                "estimated peak bytes": Double(result.estimatedPeakBytes),
            ])
    }
}

struct BenchPeak: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "peak", abstract: "What this machine's arithmetic and memory reach at most.")

    @OptionGroup var options: BenchOptions

    func run() throws {
        let compute = try options.compute()
        let peaks = MachinePeaks.measure(pool: compute.pool, instructionSet: compute.instructionSet)
        if options.json { return try Console.data(try Format.json(peaks)) }
        let rates = [("fp32", peaks.fp32), ("bf16", peaks.bf16), ("int8", peaks.int8)].compactMap { name, rate in
            rate.map { [name, "\(Format.count($0 * 1e12))\(name == "int8" ? "OP" : "FLOP")/s"] }
        }
        try Console.data(
            Console.table(
                [["machine", "\(peaks.instructionSet), \(peaks.threads) threads"]] + rates
                    + [["reading", "\(Format.count(peaks.readBandwidth * 1e9))B/s"]]))
    }
}

struct BenchCheckpoint: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "checkpoint",
        abstract: "Write a checkpoint of random weights in a published size, to measure memory and time with.",
        discussion: """
              vdit bench checkpoint --config wan2.1-t2v-1.3b -o random-1.3b
              /usr/bin/time -v vdit render --model random-1.3b \\
                  --prompt-embedding random-1.3b/prompt.safetensors --size 832x480 \\
                  --num-frames 17 --steps 1 --guidance-scale 1 --seed 0 -o noise.mp4
            """)

    @OptionGroup var model: BenchModel
    @Option(parsing: .unconditional, help: ArgumentHelp("Of the weights.", valueName: "n")) var seed: UInt64 = 0
    @Flag(help: "Also write Wan's text encoder, UMT5-XXL, of random weights (11 GB), without a tokenizer.")
    var textEncoder = false
    @Flag(help: "Zeros that take no room on a disk in place of the weights: to plan runs of a model that is not there.")
    var hollow = false
    @Option(name: .shortAndLong, help: ArgumentHelp("A folder that does not exist yet.", valueName: "folder"))
    var output: String

    func run() throws {
        var checkpoint = try RandomCheckpoint(model.published(), seed: seed)
        (checkpoint.hasTextEncoder, checkpoint.isHollow) = (textEncoder, hollow)
        try checkpoint.write(to: output)
        Console.message("vdit: wrote \(output)")
    }
}
