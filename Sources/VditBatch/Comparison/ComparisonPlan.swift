import VditFiles
import VditMedia
import VditPipeline
import VditTensor

extension Planner {
    /// A comparison, after all renders. Nil when something it compares is wrong.
    func plan(_ job: BatchJob, _ request: ComparisonRequest, position: Int) throws -> PlannedJob? {
        let name = job.name
        guard let template = job.output else {
            report(job.mark, "\(name).output: missing; where the numbers go as JSON, such as out/{job}-{seed}.json")
            return nil
        }
        let clips = try ([request.reference] + request.candidates).map { try facts($0, job) }
        let placeholders = placeholders(job, request, position)
        guard let output = fill(template, placeholders, ending: ".json", of: "\(name).output") else { return nil }
        var csv: String?
        if let written = request.entry.csv {
            csv = fill(written, placeholders, ending: ".csv", of: "\(name).csv")
            if csv == nil { return nil }
        }
        let known = clips.compactMap { $0 }
        guard known.count == clips.count else { return nil }
        var needs = job.needs
        for clip in known.compactMap(\.clip.job) where !needs.contains(clip) { needs.append(clip) }
        checkAlike(known, job, request)

        let length = request.entry.isAligned ? FileComparison.Length.cutToShorter : .refuse
        let lines = [
            "comparison", "length=\(length)", "min_psnr=\(request.entry.minPSNR.map { "\($0)" } ?? "-")",
            "output=\(FilePath.canonical(output))", "csv=\(csv.map(FilePath.canonical) ?? "-")",
        ] + known.map { "clip=\($0.fingerprint)" }
        return PlannedJob(
            id: job.id, needs: needs, position: position,
            work: .comparison(
                PlannedComparison(
                    name: name, reference: known[0].clip, candidates: known.dropFirst().map(\.clip), length: length,
                    minPSNR: request.entry.minPSNR,
                    threads: job.settings["threads"]?.integer ?? Surroundings.processors(), output: output, csv: csv)),
            fingerprint: Digest.sha256(Array(lines.joined(separator: "\n").utf8)),
            overwrite: job.settings["overwrite"]?.flag == true)
    }

    /// What is known of a clip before it is made.
    private struct Facts {
        let clip: PlannedComparison.Clip
        /// The job's, or the file's digest.
        let fingerprint: String
        let size: (width: Int, height: Int)
        let frames: Int?
        let frameRate: FrameRate?
    }

    private func facts(_ clip: ComparisonRequest.Clip, _ job: BatchJob) throws -> Facts? {
        let render: PlannedJob?
        switch clip.source {
        case .render(let id): render = renders[id]
        case .file(let path): render = writers[FilePath.real(path.text)]
        }
        if let render, let settings = render.render?.settings {
            return Facts(
                clip: .init(variant: clip.variant, job: render.id, path: render.output),
                fingerprint: render.fingerprint, size: (settings.width, settings.height),
                frames: settings.numFrames,
                frameRate: render.output.hasSuffix(".png") ? nil : settings.frameRate)
        }
        guard case .file(let file) = clip.source else { return nil }
        do {
            let found = try ComparisonClip(file.text)
            return Facts(
                clip: .init(variant: clip.variant, job: nil, path: file.text), fingerprint: try digest(file.text),
                size: (found.width, found.height), frames: nil, frameRate: found.frameRate)
        } catch let error as any Failure where error.kind == .missingInput {
            // A render that is reported as wrong may be the one that would write it.
            if !isMissingRenders {
                report(file.mark, "\(job.name).compare: \(file.text): no such file, and no job of this batch makes it")
            }
        } catch {
            report(file.mark, "\(job.name).compare: \(error)")
        }
        return nil
    }

    private func checkAlike(_ clips: [Facts], _ job: BatchJob, _ request: ComparisonRequest) {
        let reference = clips[0]
        func what(_ facts: Facts) -> String { facts.clip.job ?? facts.clip.path }
        func refuse(_ facts: Facts, _ property: String, _ found: String, _ expected: String) {
            guard unlike.insert(job.name).inserted else { return }
            report(
                request.entry.clipsMark,
                "\(job.name).compare: \(property) of \(what(facts)): found \(found), expected \(expected) as \(what(reference))")
        }
        for clip in clips.dropFirst() {
            if clip.size != reference.size {
                refuse(
                    clip, "size", "\(clip.size.width)x\(clip.size.height)",
                    "\(reference.size.width)x\(reference.size.height)")
            } else if let rate = clip.frameRate, let expected = reference.frameRate, rate != expected {
                refuse(clip, "frame rate", "\(rate)", "\(expected)")
            } else if let frames = clip.frames, let expected = reference.frames, frames != expected,
                !request.entry.isAligned
            {
                refuse(clip, "frames", "\(frames)", "\(expected)")
            }
        }
    }

    /// Those of the render that is compared, under the comparison's name.
    private func placeholders(_ job: BatchJob, _ request: ComparisonRequest, _ position: Int) -> OutputTemplate {
        var values: [String: String] = [:]
        if case .render(let id)? = request.candidates.first?.source { values = names[id]?.values ?? [:] }
        values["job"] = job.name
        values["index"] = "\(position)"
        return OutputTemplate(values: values)
    }

    private func fill(
        _ template: SettingValue, _ names: OutputTemplate, ending: String, of what: String
    ) -> String? {
        guard let path = fill(template, names) else { return nil }
        guard path.hasSuffix(ending) else {
            report(template.mark, "\(what): found '\(template.text)', expected a name that ends in \(ending)")
            return nil
        }
        do throws(FileError) {
            try AtomicFile.check(FilePath.inExistingFolder(path), existing: .replace)
            return path
        } catch {
            report(template.mark, "\(what): \(error)")
            return nil
        }
    }
}
