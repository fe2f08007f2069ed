import VditFiles
import VditPipeline
import VditTensor

/// A path with `{placeholders}` for what distinguishes one job from another.
struct OutputTemplate {
    /// The values of a job's placeholders; what the model decides is among them.
    let values: [String: String]

    init(values: [String: String]) { self.values = values }

    init(_ job: BatchJob, settings: RenderSettings, position: Int) {
        var values: [String: String] = [:]
        for row in settings.table { values[row.name] = FilePath.label(row.value) }
        for (name, value) in job.settings where values[name] == nil {
            values[name] = FilePath.label(FilePath.stemIfPath(value.text))
        }
        for (axis, label) in job.labels { values[axis] = label }
        values["size"] = "\(settings.width)x\(settings.height)"
        for name in ["prompt_embedding", "prompt_file"] where job.settings[name] != nil {
            values["prompt"] = job.settings[name].map { FilePath.label(FilePath.stem(of: $0.text)) }
        }
        values["job"] = job.name
        values["index"] = "\(position)"
        self.values = values
    }

    /// The path, or what is wrong with the template.
    func fill(_ template: String) -> Result<String, TemplateError> {
        var path = ""
        var rest = template[...]
        while let brace = rest.firstIndex(where: { $0 == "{" || $0 == "}" }) {
            path += rest[..<brace]
            guard rest[brace] == "{", let end = rest[brace...].firstIndex(of: "}") else {
                return .failure(TemplateError(text: "'\(template)': a brace without its partner"))
            }
            let name = String(rest[rest.index(after: brace)..<end])
            guard let value = values[name] else {
                let hint = nearestName(to: name, among: values.keys.sorted()).map { "; did you mean '{\($0)}'?" }
                return .failure(TemplateError(text: "no placeholder '{\(name)}' for this job\(hint ?? "")"))
            }
            path += value
            rest = rest[rest.index(after: end)...]
        }
        return .success(path + rest)
    }
}

struct TemplateError: Error {
    let text: String
}
