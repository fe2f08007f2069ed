import Foundation
import Glibc
import VDiT

/// Tells a person, or a log, how a job is getting on.
final class Progress {
    private enum Style { case silent, terminal, lines, json }

    private let style: Style
    private let isVerbose: Bool
    private let start = ContinuousClock.now
    /// Of the job at work.
    private var begun = ContinuousClock.now
    private var isLineOpen = false
    private var pace = Pace()
    private var lastReport: ContinuousClock.Instant?

    init(_ options: ReportOptions) {
        isVerbose = options.verbose
        style =
            options.quiet
            ? .silent : options.logFormat == .json ? .json : Console.isTerminal ? .terminal : .lines
    }

    func show(_ plan: RenderPlanDescription) {
        if style == .json {
            emit("plan", ["settings": Dictionary(plan.settings.map { ($0.name, $0.value) }) { $1 }])
        } else {
            plan.text.split(separator: "\n", omittingEmptySubsequences: false).forEach { line(String($0)) }
        }
    }

    /// Another job begins.
    func begin() {
        begun = .now
        pace = Pace()
        lastReport = nil
    }

    func handle(_ event: RenderEvent) {
        pace.see(event)
        switch style {
        case .silent: break
        case .json: log(event)
        case .terminal, .lines: tell(event)
        }
    }

    /// Encodes prompts and says so.
    var promptBook: PromptBook { PromptBook { [self] in handle(.encoding($0, of: $1)) } }

    // MARK: Text

    private func tell(_ event: RenderEvent) {
        switch event {
        case .begun: break
        case .notice(let text): line("note: \(text)")
        case .encoding(let layer, let layers):
            guard isDue(every: style == .terminal ? 0.2 : 60) || layer == layers else { break }
            advance("layer", layer, layers, "encoding prompts", share: Double(layer) / Double(layers))
            if layer == layers { endLine() }
        case .loading(let part):
            if style == .terminal { redraw("loading the \(part)") } else { line("loading the \(part)") }
        case .loaded(let seconds): line("model loaded in \(Format.seconds(seconds))")
        case .layer(let done, let layers, let step, let steps):
            // The first at once: there is something to see. A log gets a line a minute.
            guard isDue(every: style == .terminal ? 0.2 : 60) else { break }
            if style == .lines && done == 0 { break }
            let share = (Double(step - 1) + Double(done) / Double(layers)) / Double(steps)
            advance("step", step, steps, "layer \(done) of \(layers)\(times)", share: share)
        case .resumed(let step, let steps): line("resuming after step \(step) of \(steps)")
        case .step(let step, let steps, let seconds):
            lastReport = .now
            let share = Double(step) / Double(steps)
            advance("step", step, steps, "\(Format.seconds(seconds)) a step\(times)", share: share)
            if step == steps { endLine() }
        case .checkpoint(let path): if isVerbose { line("state saved in \(path)") }
        case .finishing(let step, let steps, let seconds):
            line(
                "finishing step \(step) of \(steps), about \(Format.seconds(seconds)); "
                    + (Signals.received == SIGINT ? "press Ctrl-C again to stop now" : "another signal stops it now"))
        case .givingUp(let step, let steps, let seconds):
            let left = seconds.map { ", about \(Format.seconds($0)) before its end" } ?? ""
            line("giving up step \(step) of \(steps)\(left)")
        case .preview(let path): if isVerbose { line("preview in \(path)") }
        case .latents(let path): if isVerbose { line("latents in \(StandardOutput.shown(path))") }
        case .frames(let done, let count):
            guard isDue(every: style == .terminal ? 0.2 : 5) || done == count else { break }
            advance("frame", done, count, "decoding\(times)", share: Double(done) / Double(max(1, count)))
            if done == count { endLine() }
        case .finished(let record): summarise(record)
        }
    }

    /// Since the job began, and, as far as that is known, until its end.
    private var times: String {
        let elapsed = ", \(Format.about(begun.secondsUntilNow)) gone"
        guard let left = pace.left, left >= 1 else { return elapsed }
        return elapsed + ", about \(Format.about(left)) left (\(Format.clock(in: left)))"
    }

    /// Whether the last report is so many seconds old.
    private func isDue(every seconds: Double) -> Bool {
        if let lastReport, lastReport.secondsUntilNow < seconds { return false }
        defer { lastReport = .now }
        // In a log, a step that has just begun is no news.
        return lastReport != nil || style == .terminal
    }

    /// One line that is redrawn on a terminal, and written elsewhere.
    private func advance(_ what: String, _ done: Int, _ count: Int, _ rest: String, share: Double) {
        let total = "\(count)"
        let number = String(repeating: " ", count: max(0, total.count - "\(done)".count)) + "\(done)"
        if style == .lines { return line("\(what) \(number)/\(total): \(rest)") }
        let filled = Int(24 * min(1, max(0, share)))
        let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: 24 - filled)
        redraw("\(what) \(number)/\(total) \(bar) \(rest)")
    }

    private func redraw(_ text: String) {
        Console.redraw(text)
        isLineOpen = true
    }

    private func line(_ text: String) {
        endLine()
        Console.message(text)
    }

    private func endLine() {
        if isLineOpen { Console.message("") }
        isLineOpen = false
    }

    deinit { endLine() }

    private func summarise(_ record: RunRecord) {
        for text in record.attentionSummary { line(text) }
        let output = record.output
        let parts = [
            ("loading", record.timingS.load), ("denoising", record.timingS.denoise),
            ("decoding", record.timingS.decode), ("encoding", record.timingS.encode),
        ].filter { $0.1 > 0 }.map { "\($0.0) \(Format.seconds($0.1))" }
        line(
            "\(StandardOutput.shown(output.path)): \(output.frames) frames of \(output.width)×\(output.height)"
                + (record.sampling?.seed.map { ", seed \($0)" } ?? "") + ", "
                + "\(Format.seconds(begun.secondsUntilNow))"
                + (record.resumedSteps == nil ? " (" : " after it was resumed (of the whole run: ")
                + "\(parts.joined(separator: ", "))), "
                + "peak memory \(Bytes.text(record.peakRssBytes))")
    }

    // MARK: JSON

    private func log(_ event: RenderEvent) {
        switch event {
        case .begun(let estimate): emit("begun", ["calls": estimate.calls, "flops": estimate.totalFLOPs])
        case .notice(let text): emit("notice", ["text": text])
        case .encoding(let layer, let layers): emit("encoding", ["layer": layer, "layers": layers])
        case .layer(let done, let layers, let step, let steps):
            guard isDue(every: 5), done > 0 else { return }
            emit("layer", ["done": done, "layers": layers, "at_step": step, "steps": steps].merging(rest) { $1 })
        case .loading(let part): emit("loading", ["part": part])
        case .loaded(let seconds): emit("loaded", ["seconds": seconds])
        case .resumed(let step, let steps): emit("resumed", ["step": step, "steps": steps])
        case .step(let step, let steps, let seconds):
            lastReport = .now
            emit("step", ["step": step, "steps": steps, "seconds": seconds].merging(rest) { $1 })
        case .checkpoint(let path): emit("checkpoint", ["path": path])
        case .finishing(let step, let steps, let seconds):
            emit("finishing", ["step": step, "steps": steps, "seconds": seconds])
        case .givingUp(let step, let steps, let seconds):
            emit("giving_up", ["step": step, "steps": steps].merging(seconds.map { ["seconds": $0] } ?? [:]) { $1 })
        case .preview(let path): emit("preview", ["path": path])
        case .latents(let path): emit("latents", ["path": path])
        case .frames(let done, let count):
            emit("frames", ["done": done, "frames": count].merging(rest) { $1 })
        case .finished(let record):
            emit("finished", ["path": record.output.path, "frames": record.output.frames])
        }
    }

    private var rest: [String: Any] { pace.left.map { ["left": $0] } ?? [:] }

    private func emit(_ event: String, _ fields: [String: Any]) {
        Console.event(event, fields.merging(["elapsed": start.secondsUntilNow]) { $1 })
    }
}
