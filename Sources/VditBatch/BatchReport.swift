import Foundation
import VditFiles
import VditPipeline
import VditTensor

/// Tables for people and JSON for programs, made of a plan or of a status.
public enum BatchReport {
    /// One line per job of what would run: size, steps, method, memory, time.
    ///
    /// - Parameter flopsPerSecond: what this machine does, measured on earlier jobs or on a trial product.
    public static func plan(_ plan: BatchPlan, status: [JobStatus], flopsPerSecond: Double) -> String {
        let states = Dictionary(status.map { ($0.id, $0.state) }, uniquingKeysWith: { a, _ in a })
        var rows = [["JOB", "STATE", "SIZE", "FRAMES", "STEPS", "METHOD", "MEMORY", "TIME", "OUTPUT"]]
        var total = 0.0
        var isUpperBound = false
        for job in plan.jobs {
            let state = states[job.id] ?? .pending
            switch job.work {
            case .render(_, let render):
                let (settings, estimate) = (render.settings, render.estimate)
                let time = estimate.totalFLOPs / flopsPerSecond
                if state != .done {
                    total += time
                    isUpperBound = isUpperBound || estimate.attention.isUpperBound
                }
                rows.append([
                    job.id, state.rawValue, "\(settings.width)x\(settings.height)", "\(settings.numFrames)",
                    "\(settings.steps)", settings.sparse + (settings.density.map { " \($0)" } ?? ""),
                    Bytes.text(estimate.peakBytes), (estimate.attention.isUpperBound ? "<" : "~") + seconds(time), job.output,
                ])
            case .comparison(let comparison):
                let against = comparison.reference.job ?? comparison.reference.path
                rows.append([job.id, state.rawValue, "", "", "", "against \(against)", "", "", job.output])
            }
        }
        var memory = MemoryLimit.current()
        if let limit = plan.file.limits.memory, limit < memory.bytes {
            memory = MemoryLimit(bytes: limit, source: "limits.memory")
        }
        let largest = plan.jobs.compactMap(\.render?.estimate.peakBytes).max() ?? 0
        var text = table(rows)
        text += "\n\(plan.jobs.count) jobs; \(isUpperBound ? "at most" : "about") \(seconds(total)) of rendering for what is not done\n"
        text += "largest job: \(Bytes.text(largest)); available: \(Bytes.text(memory.bytes)) (\(memory.source))"
        if largest > memory.bytes {
            let need = plan.jobs.compactMap(\.render?.least.estimate.peakBytes).max() ?? 0
            text += "\njobs larger than that leave their weights as stored"
            if need > memory.bytes { text += "; those that need more all the same will fail, the others will run" }
        }
        return text
    }

    /// One line per job of how far it is, the sums, and what comparisons found.
    public static func status(_ jobs: [JobStatus]) -> String {
        let hasComparisons = jobs.contains { $0.kind == .comparison }
        let quality = hasComparisons ? ["PSNR", "SSIM"] : []
        let states = Dictionary(jobs.map { ($0.id, $0.state) }, uniquingKeysWith: { a, _ in a })
        var rows = [["JOB", "STATE", "STEP", "ATTEMPTS", "TIME", "DENSITY"] + quality + ["OUTPUT OR ERROR"]]
        let altered = Set(jobs.filter(\.isAltered).map(\.id))
        for job in jobs {
            let found = job.metrics?.comparison
            let measured = [found.map { decibels($0.psnr) } ?? "", found.map { similarity($0.ssim) } ?? ""]
            rows.append(
                [
                    job.id, altered.contains(job.id) ? "altered" : job.state.rawValue,
                    job.steps > 0 ? "\(job.step)/\(job.steps)" : "", "\(job.attempts)",
                    job.metrics.map { seconds($0.seconds) } ?? "",
                    job.metrics?.density.map { String(format: "%.3f", $0) } ?? "",
                ] + (hasComparisons ? measured : []) + [job.error ?? waiting(job, states) ?? job.output])
        }
        let counts = JobState.allCases.compactMap { state in
            let count = jobs.count { $0.state == state }
            return count == 0 ? nil : "\(count) \(state.rawValue)"
        }
        var text = table(rows) + "\n\(jobs.count) jobs: \(counts.joined(separator: ", "))"
        if !altered.isEmpty { text += "; the outputs of \(altered.count) that were done are gone or altered" }
        return text + (variants(jobs).map { "\n\n" + $0 } ?? "")
    }

    /// What a pending job waits for. Nil when nothing is in its way.
    private static func waiting(_ job: JobStatus, _ states: [String: JobState]) -> String? {
        let unmet = job.state == .pending ? job.needs.filter { states[$0] != .done } : []
        if unmet.isEmpty { return nil }
        if let lost = unmet.first(where: { states[$0] == .failed || states[$0] == .cancelled }), let state = states[lost] {
            return "not run: \(lost) \(state == .failed ? "failed" : "was cancelled")"
        }
        return "needs " + unmet.prefix(2).joined(separator: ", ")
    }

    /// The table of what comparisons found; nil while none has.
    public static func variants(_ jobs: [JobStatus]) -> String? {
        let found = VariantTable(jobs).table
        return found.rows.isEmpty ? nil : String(table([found.header] + found.rows).dropLast())
    }

    private struct Document: Encodable {
        let counts: [String: Int]
        let jobs: [JobStatus]
        let variants: [VariantTable.Row]
    }

    public static func json(_ jobs: [JobStatus]) throws -> String {
        try json(
            Document(
                counts: Dictionary(
                    uniqueKeysWithValues: JobState.allCases.map { state in
                        (state.rawValue, jobs.count { $0.state == state })
                    }), jobs: jobs, variants: VariantTable(jobs).rows))
    }

    private struct PlannedDocument: Encodable {
        struct Job: Encodable {
            let id: String
            let output: String
            let needs: [String]
            /// Of a render.
            var settings: [String: String]?
            var peakBytes: Int?
            var flops: Double?
            var seconds: Double?
            /// Whether work and time are at most that, because the method decides while it runs.
            var isUpperBound: Bool?
            /// Of a comparison.
            var reference: PlannedComparison.Clip?
            var candidates: [PlannedComparison.Clip]?
        }
        let jobs: [Job]
    }

    public static func json(_ plan: BatchPlan, flopsPerSecond: Double) throws -> String {
        try json(
            PlannedDocument(
                jobs: plan.jobs.map { job in
                    var planned = PlannedDocument.Job(id: job.id, output: job.output, needs: job.needs)
                    switch job.work {
                    case .render(_, let render):
                        planned.settings = Dictionary(
                            render.settings.table.map { ($0.name, $0.value) }, uniquingKeysWith: { _, last in last })
                        planned.peakBytes = render.estimate.peakBytes
                        planned.flops = render.estimate.totalFLOPs
                        planned.seconds = render.estimate.totalFLOPs / flopsPerSecond
                        planned.isUpperBound = render.estimate.attention.isUpperBound
                    case .comparison(let comparison):
                        (planned.reference, planned.candidates) = (comparison.reference, comparison.candidates)
                    }
                    return planned
                }))
    }

    public static func json(_ events: [JobEvent]) throws -> String { try json(events as any Encodable) }

    private static func json(_ value: any Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    /// Columns as wide as their widest cell, the last as it is.
    static func table(_ rows: [[String]]) -> String {
        // Names of jobs come from files.
        let rows = rows.map { $0.map(\.onOneLine) }
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in rows.map { $0.count > column ? $0[column].count : 0 }.max() ?? 0 }
        return rows.map { row in
            row.enumerated().map { column, cell in
                column == row.count - 1 ? cell : cell + String(repeating: " ", count: widths[column] - cell.count)
            }.joined(separator: "  ") + "\n"
        }.joined()
    }

    /// What this machine does: from jobs that are done, else from a product of matrices timed now.
    public static func flopsPerSecond(_ status: [JobStatus], threads: Int) -> Double {
        let timed = status.compactMap(\.metrics).filter { $0.resumedSteps == 0 && $0.seconds > 0 && $0.flops > 0 }
        if !timed.isEmpty {
            return timed.reduce(0) { $0 + $1.flops } / timed.reduce(0) { $0 + $1.seconds }
        }
        return Trial.flopsPerSecond(threads: threads)
    }
}

/// A product of matrices of a transformer's size, timed: a first guess for a machine nothing was rendered on.
enum Trial {
    static func flopsPerSecond(threads: Int) -> Double {
        let (rows, width) = (512, 1024)
        guard let compute = try? ComputeContext(threads: threads, precision: .bf16) else { return 1e10 }
        let type = compute.operandType
        let weights = [Tensor(.f32, [width, width])]
        guard let linear = try? Linear(weights: weights, biases: [], operand: type, on: compute.instructionSet)
        else { return 1e10 }
        let input = Tensor(type, [rows, width])
        let tasks = threads * 4
        let started = ContinuousClock.now
        try? compute.pool.run(tasks) { (_, scratch) throws(TensorError) in
            try linear(input, into: scratch.tensor(type, [rows, width]), scratch)
        }
        let elapsed = max(started.secondsUntilNow, 1e-6)
        return 2 * Double(rows * width * width * tasks) / elapsed
    }
}
