import VditAttention
import VditFiles
import VditMedia

/// What jobs that are checked one after the other find in the same files: each is read for the first that names it.
///
/// For plans only, which take seconds: a run reads its files itself.
public final class KnownFiles {
    let encoders = KnownEncoders()
    private var inputs: [String: FileRoles] = [:]
    private var contents: [Key: RenderInputs.Planned] = [:]
    private var estimates: [Key: Estimate] = [:]
    private var measurements: [String: Measurements] = [:]

    public init() {}

    /// Everything of a job but its seed that `RenderInputs` and `Estimate` look at.
    private struct Key: Hashable {
        let model: ModelReference
        let adapters: [AdapterChoice]
        let prompts: [PromptSource?]
        let paths: [String?]
        let settings: [String: String]
        let fallback: AttentionContext.Fallback

        init(_ job: RenderJob, _ settings: RenderSettings) {
            (model, adapters, fallback) = (job.model, job.adapters, job.fallback)
            prompts = [job.prompt, job.negativePrompt]
            paths = [
                job.textEncoder, job.image, job.lastImage, settings.video, job.latents, job.sparseTable,
                job.cacheCalibration,
            ]
            var identity = settings.identity
            identity[SettingTable.rows.seed.name] = nil
            identity[SettingTable.rows.threads.name] = settings.threads.written
            identity[SettingTable.rows.weights.name] = settings.weights?.rawValue
            self.settings = identity
        }
    }

    /// The plan of a job, of which the seed decides nothing that takes time.
    ///
    /// - Parameters:
    ///   - read: reads the job's inputs.
    ///   - make: plans a job of such inputs whose cost is, or is not, known.
    func plan(
        _ job: RenderJob, _ settings: RenderSettings, reading read: () throws -> RenderInputs.Planned,
        _ make: (RenderInputs.Planned, Estimate?) throws -> RenderPlan
    ) throws -> (plan: RenderPlan, inputs: RenderInputs.Planned) {
        let key = Key(job, settings)
        let inputs = try contents[key] ?? read()
        contents[key] = inputs
        let plan = try make(inputs, estimates[key])
        estimates[key] = plan.estimate
        return (plan, inputs)
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
