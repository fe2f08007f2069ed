import VditFiles
import VditTensor

/// Writes a run's intermediate tensors to a folder, for laying a step beside another implementation.
///
/// `initial_noise.safetensors` holds `latents`; `step_000.safetensors` … hold `noise_pred_cond`,
/// `noise_pred_uncond` and `latents` (after the step), all f32 `[1, channels, frames, height, width]`, with
/// `timestep` and `sigma` in the metadata.
public struct TrajectoryWriter: Sendable {
    /// What of a step is kept.
    public enum Content: Sendable {
        case everything
        /// No noise, no predictions.
        case latents
    }

    public let directory: String
    private let content: Content
    private let existing: ExistingFile

    /// Creates the folder where it does not exist.
    ///
    /// - Throws: `FileError.inaccessible` when that fails.
    public init(directory: String, content: Content = .everything, existing: ExistingFile) throws(FileError) {
        try FilePath.makeFolder(directory)
        self.directory = directory
        self.content = content
        self.existing = existing
    }

    /// Refuses a folder that holds a trajectory.
    ///
    /// - Throws: `FileError.inaccessible` (73) naming a file that would be replaced.
    static func checkIsFree(_ directory: String) throws(FileError) {
        for name in (FilePath.names(in: directory) ?? []).sorted()
        where name == "initial_noise.safetensors" || name.hasPrefix("step_") && name.hasSuffix(".safetensors") {
            try AtomicFile.check(FilePath.joined(directory, name), existing: .refuse)
        }
    }

    /// Whether a folder holds the files of the first steps.
    static func holds(_ directory: String, steps: Int) -> Bool {
        (0..<steps).allSatisfy { FilePath.exists(FilePath.joined(directory, name(ofStep: $0))) }
    }

    public func write(noise: Tensor) throws {
        guard content == .everything else { return }
        try SafetensorsWriter.write(
            ["latents": batched(noise)], to: "\(directory)/initial_noise.safetensors",
            existing: existing)
    }

    public func write(_ result: StepResult) throws {
        var tensors = ["latents": batched(result.latents)]
        if content == .everything {
            tensors["noise_pred_cond"] = batched(result.conditional)
            tensors["noise_pred_uncond"] = result.unconditional.map(batched)
        }
        try SafetensorsWriter.write(
            tensors,
            metadata: [
                "step": "\(result.step.index)", "timestep": "\(result.step.timestep)", "sigma": "\(result.step.sigma)",
            ], to: "\(directory)/\(Self.name(ofStep: result.step.index))", existing: existing)
    }

    /// The file of a step, counted from 0.
    package static func name(ofStep index: Int) -> String {
        let digits = String(index)
        return "step_" + String(repeating: "0", count: max(0, 3 - digits.count)) + digits + ".safetensors"
    }
}

/// The tensor with a batch axis of 1 in front, as PyTorch's pipelines have it.
func batched(_ tensor: Tensor) -> Tensor { tensor.reshaped([1] + tensor.shape) }
