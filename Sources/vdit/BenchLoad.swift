import ArgumentParser
import VDiT

struct BenchLoad: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "load", abstract: "Load a transformer from one file, against reading that file once.")

    @Argument(help: ArgumentHelp("Of weights, in any format that is read.", valueName: "file")) var file: String
    @Option(parsing: .unconditional, help: "How its blocks are kept; what is not packed is not read yet. Default: packed.")
    var weights = LayerKeeping.packed
    @OptionGroup var options: BenchOptions

    func run() throws {
        if file.isEmpty { throw FileError.emptyPath("file") }
        var compute = try options.compute()
        compute.keeping = weights
        let result = try LoadBenchmark(file).run(repeats: options.repeats, compute)
        let ratios = zip(result.loading.seconds, result.reading.seconds).map { $0 / $1 }
        try options.report(
            "load", result.loading, flops: nil, compute,
            notes: [
                "bytes": Double(result.byteCount), "seconds of reading": result.reading.medianSeconds,
                "times the time of reading": Timing(seconds: ratios).medianSeconds,
            ])
    }
}
