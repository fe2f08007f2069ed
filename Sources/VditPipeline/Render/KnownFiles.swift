import VditFiles
import VditMedia

/// What jobs that are checked one after the other find in the same files: each is read for the first that names it.
///
/// For plans only, which take seconds: a run reads its files itself.
public final class KnownFiles {
    let encoders = KnownEncoders()
    private var inputs: [String: FileRoles] = [:]
    private var contents: [ContentKey: RenderInputs.Planned] = [:]
    private var measurements: [String: Measurements] = [:]

    public init() {}

    /// Everything that `RenderInputs` looks at.
    private struct ContentKey: Hashable {
        let model: ModelReference
        let adapters: [AdapterChoice]
        let prompts: [PromptSource?]
        let paths: [String?]
        let settings: [String: String]
    }

    func planned(
        _ job: RenderJob, _ settings: RenderSettings, _ read: () throws -> RenderInputs.Planned
    ) rethrows -> RenderInputs.Planned {
        var identity = settings.identity
        identity[SettingTable.rows.seed.name] = nil
        let key = ContentKey(
            model: job.model, adapters: job.adapters, prompts: [job.prompt, job.negativePrompt],
            paths: [job.textEncoder, job.image, job.lastImage, settings.video, job.latents, job.cacheCalibration],
            settings: identity)
        if let known = contents[key] { return known }
        let found = try read()
        contents[key] = found
        return found
    }

    func measurements(_ path: String) throws -> Measurements {
        if let known = measurements[path] { return known }
        let found = try Measurements(path: path)
        measurements[path] = found
        return found
    }

    func input(_ path: String, as role: String) -> FileRoles {
        let key = "\(role) \(path)"
        if let known = inputs[key] { return known }
        let found = FileRoles(reads: [role: path])
        inputs[key] = found
        return found
    }
}
