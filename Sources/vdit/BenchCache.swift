import ArgumentParser
import VDiT

struct BenchCache: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cache", abstract: "What a transformer call costs that a step cache leaves out.",
        discussion: """
            With random weights: the time of such a call, its part of a computed one's, the
            memory of what stands in for it, and how many residual streams that is for
            every branch:

              vdit bench cache --config wan2.1-t2v-1.3b --size 832x480 --num-frames 33
            """)

    @OptionGroup var model: BenchModel
    @Option(help: ArgumentHelp("Step caches, with commas. Default: all.", valueName: "names"))
    var caches: String?
    @OptionGroup var size: BenchSize
    @OptionGroup var options: BenchOptions

    func run() throws {
        let specification = try model.published().specification
        let benchmark = CacheBenchmark(
            LayerBenchmark(
                specification.transformer, latents: try size.latents(specification),
                textTokens: specification.defaults.textLength ?? 512, seed: options.seed))
        let result = try benchmark.run(
            caches?.split(separator: ",").map(String.init) ?? CacheCatalogue.all.names, repeats: options.repeats,
            options.compute())
        if options.json { return try Console.data(try Format.json(result)) }
        let rows = result.rows.map {
            [
                $0.cache, Format.seconds($0.seconds), Format.fraction($0.share), Bytes.text($0.stateBytes),
                Format.fraction($0.stateCopies),
            ]
        }
        try Console.data(
            """
            \(result.tokens) tokens, \(result.threads) threads; computed: \(Format.seconds(result.computedSeconds))

            \(Console.table([["cache", "call left out", "of a computed one", "keeps", "copies of the stream"]] + rows))
            """)
    }
}
