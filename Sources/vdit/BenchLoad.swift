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
        try options.report(
            "load", result.cold.loading, flops: nil, compute,
            notes: [
                "bytes": Double(result.byteCount), "seconds of reading": result.cold.reading.medianSeconds,
                "times the time of reading": Timing(seconds: result.cold.ratios).medianSeconds,
                "seconds of reading into new memory": result.cold.keeping.medianSeconds,
                "times that time": Timing(seconds: result.cold.ratiosOfKeeping).medianSeconds,
                "seconds from memory": result.warm.loading.medianSeconds,
                "seconds of reading from memory": result.warm.reading.medianSeconds,
                "seconds of copying from memory": result.warm.keeping.medianSeconds,
            ])
    }
}
