import Glibc
import VditFiles
import VditMedia
import VditModels
import VditTensor

/// The files a render writes, checked before anything is computed.
struct RenderOutputs {
    /// How the video will be written.
    let video: VideoPlan
    /// Where it goes, and what becomes of files that lie there.
    let destination: VideoDestination
    let existingRecord: ExistingFile
    /// What to do with a file where the latents are to stay.
    let existingLatents: ExistingFile

    /// Whether folders that are not there are an error.
    enum Folders {
        case mustExist
        /// Whoever runs the job makes them.
        case willBeMade
    }

    /// Checks every output; creates nothing.
    ///
    /// - Parameter resumed: the state the run goes on from, whose own latents may lie there already.
    /// - Throws: `MediaError`, `TensorError` or `PipelineError` naming the path and the reason.
    init(
        _ job: RenderJob, _ plan: RenderPlan, resumed: Checkpoint? = nil, folders: Folders = .mustExist,
        known: KnownFiles? = nil
    ) throws {
        try job.files(known: known).check()
        var destination = job.destination
        var latents = job.saveLatents
        if folders == .willBeMade {
            destination.path = FilePath.inExistingFolder(destination.path)
            destination.contactSheet = destination.contactSheet.map(FilePath.inExistingFolder)
            latents = latents.map(FilePath.inExistingFolder)
        }
        let isDone = resumed?.completed == plan.steps.count
        let state = destination.statePath
        var existingRecord = destination.existing
        if let resumed, let state, isDone, destination.existing == .refuse,
            OutputFormat.isSequence(destination.path) || FilePath.isNoOlder(destination.path, than: state)
        {
            // Its own, if the process ended between the video's last byte and the end.
            destination.options.existing = .confirm
            let record = try? RunRecord(path: destination.recordPath)
            existingRecord = record?.identity == resumed.identity ? .replace : .refuse
        }
        (self.destination, self.existingRecord) = (destination, existingRecord)
        try blaming("output") {
            if destination.record == .write { try AtomicFile.check(destination.recordPath, existing: existingRecord) }
            // Its name is longer than the video's.
            if let state { try AtomicFile.check(state, existing: .replace) }
        }
        let settings = plan.settings
        video = try blaming("output") {
            try destination.validate(
                width: settings.width, height: settings.height, frameCount: settings.numFrames,
                frameRate: settings.frameRate, known: known?.encoders)
        }
        var existing = job.destination.existing
        if let latents {
            if let resumed, isDone,
                let (kept, _) = try? LatentsFile.read(latents, channels: plan.latents.channels),
                kept.floats() == resumed.latents.floats()
            {
                // Its own, written before the decoding that was interrupted.
                existing = .replace
            }
            try blaming("save_latents") { try AtomicFile.checkStream(latents, existing: existing) }
        } else if resumed == nil, let state, !FilePath.exists(state) {
            // No run that was interrupted left it: somebody keeps it.
            try AtomicFile.check(
                companionPath(destination.path, ".latents.safetensors"), existing: job.destination.existing)
        }
        existingLatents = existing
        if let folder = job.saveTrajectory, resumed == nil, job.destination.existing == .refuse {
            try TrajectoryWriter.checkIsFree(folder)
        }
        if let preview = job.preview {
            // A run that goes on replaces its own.
            try AtomicFile.check(preview.path, existing: resumed == nil ? job.destination.existing : .replace)
        }
        if let every = job.preview?.every, every < 1 {
            throw PipelineError.invalid(
                "preview interval", found: "\(every)", expected: "at least 1 step", kind: .usage)
        }
        if let every = job.checkpointEverySteps, every < 1 {
            throw PipelineError.setting("checkpoint_every", found: "\(every)", expected: "at least 1 step")
        }
    }

    /// A checkpoint holds the latents, up to three histories of them and what the method learned; while one is
    /// written the one before still lies there.
    ///
    /// - Throws: `PipelineError.invalid` (74) where the disk has no room for that.
    static func checkSpace(_ job: RenderJob, _ plan: RenderPlan) throws(PipelineError) {
        let path = job.destination.path
        let needed = 2 * (plan.latents.count * 4 * 5 + plan.estimate.methodBytes)
        let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
        var status = statvfs()
        guard statvfs(folder, &status) == 0 else { return }
        let (free, overflow) = Int(status.f_bavail).multipliedReportingOverflow(by: Int(status.f_frsize))
        if !overflow, free < needed {
            let (found, expected) = Bytes.texts(free, needed)
            throw .invalid(
                "free space in \(folder)", found: found,
                expected: "at least \(expected) for latents and checkpoints", kind: .ioError)
        }
    }
}
