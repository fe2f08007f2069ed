import ArgumentParser
import Glibc
import VDiT

struct Compare: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure videos against a reference, or sparse methods against dense attention.",
        usage: """
            vdit compare <reference> <candidate> ... [--align] [--csv <file>] [--min-psnr <dB>]
            vdit compare --model <folder> --prompt-embedding <file> ... --methods <names> -o <folder>
            """,
        discussion: """
            Files: any video FFmpeg reads, PNG sequences (a pattern or a folder), frames
            saved as safetensors. The PSNR shown is of the squared error averaged over all
            frames and colour channels, SSIM has Gaussian windows; --json and --csv have
            every measure:

              vdit compare dense.mkv radial.mkv svg2.mkv --csv frames.csv

            Methods: renders each prompt and seed with dense attention and again with every
            method at every density from the same noise, and leaves report.html,
            results.json, pictures and side-by-side videos in a folder. The same command
            goes on where it was stopped:

              vdit compare --model samples/wan-mini \\
                  --prompt-embedding samples/prompts/01-red-ball-right.safetensors \\
                  --negative-prompt-embedding samples/prompts/empty.safetensors \\
                  --methods dense,radial,svg2 --densities 0.5,0.3 --num-frames 33 \\
                  -o out/report

            Exit code 1 says that --min-psnr was not reached.
            """)

    @Argument(help: ArgumentHelp("The reference, then what is measured against it.", valueName: "file"))
    var files: [String] = []

    @Flag(name: .long, help: "Compare as many frames as the shorter clip has.")
    var align = false

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "Write a line per frame, or per render, with every digit; - for standard output.", valueName: "file.csv"))
    var csv: String?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Write the table as Markdown.", valueName: "file.md"))
    var markdown: String?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Exit with 1 if any PSNR is below.", valueName: "dB"))
    var minPsnr: Double?

    @Flag(name: .long, help: "Print everything as JSON on standard output.")
    var json = false

    @Flag(name: .long, help: "Replace the files of --csv and --markdown.")
    var overwrite = false

    @OptionGroup(title: "Methods") var methods: CompareMethods
    @OptionGroup(title: "Sampling") var sampling: SamplingOptions
    @OptionGroup(title: "Machine") var machine: MachineOptions
    @OptionGroup(title: "Messages") var report: ReportOptions

    func validate() throws {
        if let minPsnr, !minPsnr.isFinite {
            throw ValidationError("--min-psnr: found \(minPsnr), expected a number of dB")
        }
        try checkStandardOutput(csv, json: json)
        if methods.model == nil {
            if let flag = methods.given { throw ValidationError("\(flag) needs --model") }
            if files.count < 2 {
                throw ValidationError("expected a reference and at least one candidate, or --model")
            }
        } else {
            if !files.isEmpty { throw ValidationError("files and --model contradict each other; give one") }
            if align { throw ValidationError("--align is for files") }
            try methods.validateAlone()
        }
    }

    func run() throws {
        var roles = try methods.files()
        for file in files { roles.read(file, as: "compared video") }
        roles.make(csv, as: "table of frames")
        roles.make(markdown, as: "table in Markdown")
        try roles.check()
        for path in [csv == StandardOutput.name ? nil : csv, markdown].compactMap({ $0 }) {
            try AtomicFile.check(path, existing: overwrite ? .replace : .refuse)
        }
        if let model = methods.model { try compareMethods(of: model) } else { try compareFiles() }
    }

    // MARK: Files

    private func compareFiles() throws {
        let comparison = try FileComparison(
            reference: files[0], candidates: Array(files.dropFirst()),
            length: align ? .cutToShorter : .refuse, threads: try machine.decided().threads)
        for candidate in comparison.candidates where !report.quiet {
            for warning in candidate.warnings { Console.message("warning: \(warning)") }
        }
        try save(comparison.frameTable.csv, to: csv)
        try save(comparison.table.markdown, to: markdown)
        try show(json ? try Format.json(comparison) : text(comparison.table))
        try fail(
            comparison.candidates.compactMap { candidate in
                candidate.quality.psnr.map { (candidate.path, $0) }
            })
    }

    // MARK: Methods

    private func compareMethods(of model: String) throws {
        let progress = CompareProgress(report)
        let comparison = try Comparison(try methods.job(model, sampling.request(machine)), progress.promptBook)
        if methods.dryRun {
            comparison.removeEmptyFolder()
            try Console.data(plan(comparison))
            return
        }
        let results: ComparisonResults
        do {
            results = try comparison.run(stop: Signals.stop) { progress.handle($0) }
        } catch PipelineError.cancelled {
            Console.failure("stopped, what was computed is kept; run the same command again to go on")
            throw ExitCode(128 + (Signals.received ?? SIGTERM))
        }
        try save(results.renderTable.csv, to: csv)
        try save(results.markdown, to: markdown)
        try show(json ? try Format.json(results) : text(results.table))
        progress.say("\(comparison.job.directory)/report.html")
        try fail(results.variants.compactMap { row in row.psnrLowestClip.map { (row.label, $0) } })
    }

    private func plan(_ comparison: Comparison) -> String {
        let renders = comparison.renders
        let estimate = comparison.first.estimate
        var rows = comparison.first.settings.table
            .filter { !["seed", "sparse", "sparse_options", "density"].contains($0.name) }
            .map { [$0.name, $0.value, "(\($0.origin.rawValue))"] }
        rows.append(["seeds", comparison.job.seeds.map(String.init).joined(separator: ", ")])
        rows.append(["prompts", "\(comparison.job.prompts.count)"])
        rows.append(["variants", comparison.variants.map(\.label).joined(separator: ", ")])
        rows.append(["renders", "\(renders.all), \(renders.finished) of them finished"])
        rows.append(["work", "\(Format.count(estimate.totalFLOPs))FLOP a render with dense attention, decoding included"])
        rows.append(["memory", "about \(Bytes.text(estimate.peakBytes)) of \(Bytes.text(comparison.first.memoryLimit.bytes))"])
        rows += comparison.notices.map { ["notice", $0] }
        return Console.table(rows)
    }

    // MARK: Both

    private func text(_ table: ComparisonTable) -> String { Console.table([table.header] + table.rows) }

    /// Standard output has one thing to say.
    private func show(_ text: String) throws { if csv != StandardOutput.name { try Console.data(text) } }

    private func save(_ text: String, to path: String?) throws {
        guard let path else { return }
        try AtomicFile.write(Array(text.utf8), to: path, existing: overwrite ? .replace : .refuse)
    }

    private func fail(_ measured: [(name: String, psnr: Double)]) throws {
        guard let minPsnr else { return }
        let below = measured.filter { $0.psnr < minPsnr }
        if below.isEmpty { return }
        for (name, psnr) in below {
            Console.failure("\(name): PSNR \(psnr) dB is below \(minPsnr) dB")
        }
        throw ExitCode(1)
    }
}
