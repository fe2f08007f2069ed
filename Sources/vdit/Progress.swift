import Foundation
import Glibc
import VDiT

/// Tells a person, or a log, how a job is getting on.
final class Progress {
    private enum Style { case silent, terminal, lines, json }

    private let style: Style
    private let isVerbose: Bool
    private let start = ContinuousClock.now
    private var isLineOpen = false
    private var stepSeconds: [Double] = []
    private var lastFrameReport: ContinuousClock.Instant?

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
            line(plan.text)
        }
    }

    func handle(_ event: RenderEvent) {
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
        case .notice(let text): line("note: \(text)")
        case .encoding(let layer, let layers):
            advance("layer", layer, layers, "encoding prompts", isDue: layer == layers)
        case .loading(let part): if isVerbose { line("loading the \(part)") }
        case .loaded(let seconds): line("model loaded in \(Format.seconds(seconds))")
        case .resumed(let step, let steps): line("resuming after step \(step) of \(steps)")
        case .step(let step, let steps, let seconds):
            stepSeconds.append(seconds)
            let mean = stepSeconds.reduce(0, +) / Double(stepSeconds.count)
            let left = step < steps ? ", \(Format.seconds(mean * Double(steps - step))) left" : ""
            advance("step", step, steps, "\(Format.seconds(seconds)) a step\(left)", isDue: true)
        case .checkpoint(let path): if isVerbose { line("state saved in \(path)") }
        case .finishing(let step, let steps, let seconds):
            line(
                "finishing step \(step) of \(steps), about \(Format.seconds(seconds)); "
                    + (Signals.received == SIGINT ? "press Ctrl-C again to stop now" : "another signal stops it now"))
        case .givingUp(let step, let steps, let seconds):
            let left = seconds.map { ", about \(Format.seconds($0)) before its end" } ?? ""
            line("giving up step \(step) of \(steps)\(left)")
        case .preview(let path): if isVerbose { line("preview in \(path)") }
        case .latents(let path): if isVerbose { line("latents in \(path)") }
        case .frames(let done, let count):
            let isDue = lastFrameReport.map { $0.duration(to: .now) > .seconds(5) } ?? (done < count)
            if isDue || done == count { lastFrameReport = .now }
            advance("frame", done, count, "decoding", isDue: isDue || done == count)
        case .finished(let record): summarise(record)
        }
    }

    /// One line that is redrawn on a terminal, and written when it is due elsewhere.
    private func advance(_ what: String, _ done: Int, _ count: Int, _ rest: String, isDue: Bool) {
        let total = "\(count)"
        let number = String(repeating: " ", count: max(0, total.count - "\(done)".count)) + "\(done)"
        if style == .lines {
            if isDue { line("\(what) \(number)/\(total): \(rest)") }
            return
        }
        let filled = count > 0 ? 24 * done / count : 24
        let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: 24 - filled)
        let text = "\(what) \(number)/\(total) \(bar) \(rest)"
        Console.redraw(text)
        isLineOpen = true
        if done == count { endLine() }
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
            "\(output.path): \(output.frames) frames of \(output.width)×\(output.height)"
                + (record.sampling?.seed.map { ", seed \($0)" } ?? "") + ", "
                + "\(Format.seconds(start.secondsUntilNow))"
                + (record.resumedSteps == nil ? " (" : " after it was resumed (of the whole run: ")
                + "\(parts.joined(separator: ", "))), "
                + "peak memory \(Bytes.text(record.peakRssBytes))")
    }

    // MARK: JSON

    private func log(_ event: RenderEvent) {
        switch event {
        case .notice(let text): emit("notice", ["text": text])
        case .encoding(let layer, let layers): emit("encoding", ["layer": layer, "layers": layers])
        case .loading(let part): emit("loading", ["part": part])
        case .loaded(let seconds): emit("loaded", ["seconds": seconds])
        case .resumed(let step, let steps): emit("resumed", ["step": step, "steps": steps])
        case .step(let step, let steps, let seconds):
            emit("step", ["step": step, "steps": steps, "seconds": seconds])
        case .checkpoint(let path): emit("checkpoint", ["path": path])
        case .finishing(let step, let steps, let seconds):
            emit("finishing", ["step": step, "steps": steps, "seconds": seconds])
        case .givingUp(let step, let steps, let seconds):
            emit("giving_up", ["step": step, "steps": steps].merging(seconds.map { ["seconds": $0] } ?? [:]) { $1 })
        case .preview(let path): emit("preview", ["path": path])
        case .latents(let path): emit("latents", ["path": path])
        case .frames(let done, let count): emit("frames", ["done": done, "frames": count])
        case .finished(let record):
            emit("finished", ["path": record.output.path, "frames": record.output.frames])
        }
    }

    private func emit(_ event: String, _ fields: [String: Any]) {
        var fields = fields
        fields["event"] = event
        fields["elapsed"] = start.secondsUntilNow
        let options: JSONSerialization.WritingOptions = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? JSONSerialization.data(withJSONObject: fields, options: options) else { return }
        Console.message(String(decoding: data, as: UTF8.self))
    }
}
