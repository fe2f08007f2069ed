import ArgumentParser
import VDiT

struct Info: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print what a video was made with.",
        discussion: """
            Example:

              vdit info ball.mp4

            From the sidecar ball.mp4.json where there is one, else what the file itself
            says.
            """)

    @Argument(help: ArgumentHelp("A video vdit made, or its .json.", valueName: "file"))
    var path: String

    @Flag(name: .long, help: "The whole sidecar.")
    var json = false

    func run() throws {
        if path.isEmpty { throw FileError.emptyPath("path") }
        let sidecar = path.hasSuffix(".json") ? path : RunRecord.path(forOutput: path)
        do {
            let record = try RunRecord(path: sidecar)
            try Console.data(json ? try Format.json(record) : record.summary(sidecar))
        } catch let error as FileError where error == .missing(path: sidecar) && sidecar != path {
            try Console.data(try VideoDescription(path).text)
        }
    }
}

extension RunRecord {
    /// What a person asks about a video.
    ///
    /// - Parameter path: of this record.
    fileprivate func summary(_ path: String) -> String {
        let file = [output.codec, output.pixFmt].compactMap { $0 }.joined(separator: " ")
        var rows = [
            [
                "video",
                "\(output.path): \(output.frames) frames of \(output.width)×\(output.height), "
                    + "\(output.fps) a second, \(file)",
            ],
            ["model", "\(model.path) (\(model.family), \(model.dtype))"],
        ]
        rows += (lora ?? []).map { ["adapter", "\($0.path) × \($0.strength)"] }
        if let prompt = inputs.prompt { rows.append(["prompt", prompt]) }
        if let sampling {
            let settings: [(String, String?)] = [
                ("seed", sampling.seed.map { "\($0)" }), ("steps", sampling.steps.map { "\($0)" }),
                ("guidance", sampling.guidanceScale.map { "\($0)" }),
                ("flow shift", sampling.flowShift.map { "\($0)" }),
            ]
            let given = settings.compactMap { name, value in value.map { "\(name) \($0)" } }
            rows.append(["sampling", given.joined(separator: ", ")])
        }
        if let attention {
            let options = attention.options.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
            let work = attention.work.map { ", \(Format.fraction($0)) of dense attention's work" } ?? ""
            rows.append(["attention", ([attention.method] + options).joined(separator: " ") + work])
        }
        let times = [
            ("loading", timingS.load), ("denoising", timingS.denoise), ("decoding", timingS.decode),
            ("encoding", timingS.encode),
        ]
        let spent = times.filter { $0.1 > 0 }.map { "\($0.0) \(Format.seconds($0.1))" }
        rows.append(["time", spent.joined(separator: ", ")])
        rows.append(["memory", "\(Bytes.text(peakRssBytes)) at most"])
        rows.append(["made", "\(created) by vdit \(vditVersion)"])
        if sampling != nil { rows.append(["again", "vdit render --from \(path) -o FILE"]) }
        return Console.table(rows + warnings.map { ["notice", $0] })
    }
}
