import Glibc
import VditFiles
import VditMedia
import VditTensor

extension RunRecord {
    /// What `identity` says about the program and the machine rather than about the settings.
    public static let machineFields: Set<String> = ["instruction_set", "vdit_version"]

    /// Refuses a render that depends on other things than the recorded one did.
    ///
    /// - Parameters:
    ///   - current: the identity of that render.
    ///   - names: what to look at; nil is everything but `machineFields`.
    ///   - path: the record, for the error.
    ///   - thing: what to call the field in the error; nil is its name.
    /// - Throws: `PipelineError.invalid` (78) with the first difference.
    public func verify(
        _ current: [String: String], _ names: [String]? = nil, path: String, of thing: String? = nil
    ) throws(PipelineError) {
        let recorded = identity ?? [:]
        let all = Set(recorded.keys).union(current.keys).subtracting(Self.machineFields).sorted()
        for name in names ?? all where recorded[name] != current[name] {
            throw .invalid(
                "\(path): \(thing ?? name)", found: current[name] ?? "nothing",
                expected: "\(recorded[name] ?? "nothing"), as recorded", kind: .configuration)
        }
    }
}

extension RunRecord {
    /// Refuses other model files, the decoder's too, as far as sizes and headers tell.
    ///
    /// - Throws: `PipelineError.invalid` (78) naming the first that differs.
    public func verify(files: [ModelFile], path: String) throws(PipelineError) {
        guard files != model.files else { return }
        let file = files.first { !model.files.contains($0) } ?? model.files.first { !files.contains($0) }
        throw .invalid(
            "\(path): model file \(file?.name ?? "")", found: "another file", expected: "the recorded one",
            kind: .configuration)
    }
}

extension RunRecord {
    /// Refuses another text encoder.
    ///
    /// - Throws: `PipelineError.invalid` (78).
    public func verify(encoder: TextEncoder?, path: String) throws(PipelineError) {
        guard let recorded = inputs.textEncoder, let encoder, encoder.sha256 != recorded.sha256 else { return }
        throw .invalid(
            "\(path): text encoder \(encoder.path)", found: "another encoder", expected: "the recorded one",
            kind: .configuration)
    }
}

extension Renderer {
    /// The record of a video that is there already, complete and made with the settings of `job`.
    ///
    /// A job without a seed takes the recorded one. Where its process was killed before it could, the state it was made
    /// from is removed.
    ///
    /// - Returns: nil when there is no such file.
    /// - Throws: `PipelineError.invalid` (73) for a file without a record or other than its record says, (78) naming
    ///   the first setting that differs.
    public static func finished(_ job: RenderJob, _ book: PromptBook = PromptBook()) throws -> RunRecord? {
        let (output, path) = (job.destination.path, job.destination.recordPath)
        let isSequence = OutputFormat.isSequence(output)
        guard FilePath.exists(isSequence ? path : output) else { return nil }
        guard FilePath.exists(path) else {
            throw PipelineError.invalid(
                output, found: "a file without a record", expected: "\(path) beside it, which says how it was made",
                kind: .cannotCreate)
        }
        let record = try RunRecord(path: path)
        let model = try ModelDirectory(job.model)
        let (plan, inputs) = try plan(job, model, book, seed: record.sampling?.seed)
        try record.verify(identity(plan, inputs, model), path: path)
        try record.verify(files: model.files, path: path)
        let settings = plan.settings
        let video = try job.destination.validate(
            width: settings.width, height: settings.height, frameCount: settings.numFrames,
            frameRate: settings.frameRate, existing: .replace)
        var expected = RunRecord.Output(video, frames: settings.numFrames, frameRate: settings.frameRate)
        (expected.path, expected.sha256) = (record.output.path, record.output.sha256)
        if let difference = expected.firstDifference(from: record.output) {
            throw PipelineError.invalid(
                "\(path): output.\(difference.name)", found: difference.own,
                expected: "\(difference.other), as recorded", kind: .configuration)
        }
        if !isSequence, try Digest.sha256(file: output) != record.output.sha256 {
            throw PipelineError.invalid(
                output, found: "another content", expected: "the file that \(path) describes", kind: .cannotCreate)
        }
        removeState(job, of: record.identity)
        OutputLock.clear(output)
        return record
    }
}

extension Renderer {
    /// Removes what a run of this identity goes on from, its steps being done.
    private static func removeState(_ job: RenderJob, of identity: [String: String]?) {
        guard let path = job.destination.statePath, let state = try? Checkpoint(path: path), state.identity == identity
        else { return }
        if job.saveLatents == nil, let latents = job.keptLatents { unlink(latents) }
        unlink(path)
    }
}

extension RunRecord.Output {
    /// What a plan will give.
    init(_ plan: VideoPlan, frames: Int, frameRate: FrameRate) {
        let options = RenderJob(
            model: "", promptEmbedding: "", destination: VideoDestination(path: plan.path, options: plan.options))
        var given: [String: String] = [:]
        for row in SettingTable.rows(of: .output) where row.isRecorded { given[row.name] = row.given(in: options) }
        self.init(
            path: plan.path, width: plan.width, height: plan.height, frames: frames, codec: plan.codec?.rawValue,
            pixFmt: plan.pixelFormat, crf: plan.crf, preset: plan.preset,
            fps: "\(frameRate.numerator)/\(frameRate.denominator)", options: given.isEmpty ? nil : given)
    }

    /// Values as flags take them, by the name of the setting.
    public var settings: [String: String] {
        var settings = options ?? [:]
        if let codec {
            settings["codec"] = codec
            settings["crf"] = crf.map(String.init)
            settings["pix_fmt"] = pixFmt
            settings["preset"] = preset
        } else if pixFmt == "rgb48be" {
            settings["png_depth"] = SampleDepth.sixteen.written
        }
        return settings
    }

    /// The first field that differs, by its name in the file.
    func firstDifference(from other: Self) -> (name: String, own: String, other: String)? {
        func fields(_ output: Self) -> [(String, String?)] {
            [
                ("codec", output.codec), ("pix_fmt", output.pixFmt), ("crf", output.crf.map(String.init)),
                ("preset", output.preset), ("options", output.options?.written), ("fps", output.fps), ("width", "\(output.width)"),
                ("height", "\(output.height)"), ("frames", "\(output.frames)"),
            ]
        }
        for (own, theirs) in zip(fields(self), fields(other)) where own.1 != theirs.1 {
            return (own.0, own.1 ?? "none", theirs.1 ?? "none")
        }
        return nil
    }
}
