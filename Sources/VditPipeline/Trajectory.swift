import VditFiles
import VditTensor

/// Writes a run's intermediate tensors to a folder, for laying a step beside another implementation.
///
/// `initial_noise.safetensors` holds `latents`; `step_000.safetensors` … hold `noise_pred_cond`,
/// `noise_pred_uncond` and `latents` (after the step), all f32 `[1, channels, frames, height, width]`, with
/// `timestep` and `sigma` in the metadata.
public struct TrajectoryWriter: Sendable {
    public let directory: String
    private let existing: ExistingFile

    /// Creates the folder where it does not exist.
    ///
    /// - Throws: `PipelineError.invalid` (73) when that fails.
    public init(directory: String, existing: ExistingFile) throws(PipelineError) {
        try createDirectory(directory)
        self.directory = directory
        self.existing = existing
    }

    public func write(noise: Tensor) throws(TensorError) {
        try SafetensorsWriter.write(
            ["latents": batched(noise)], to: "\(directory)/initial_noise.safetensors",
            existing: existing)
    }

    public func write(_ result: StepResult) throws(TensorError) {
        var tensors = [
            "noise_pred_cond": batched(result.conditional), "latents": batched(result.latents),
        ]
        tensors["noise_pred_uncond"] = result.unconditional.map(batched)
        let digits = String(result.step.index)
        let number = String(repeating: "0", count: max(0, 3 - digits.count)) + digits
        try SafetensorsWriter.write(
            tensors,
            metadata: [
                "step": digits, "timestep": "\(result.step.timestep)", "sigma": "\(result.step.sigma)",
            ], to: "\(directory)/step_\(number).safetensors", existing: existing)
    }
}

/// The tensor with a batch axis of 1 in front, as PyTorch's pipelines have it.
func batched(_ tensor: Tensor) -> Tensor { tensor.reshaped([1] + tensor.shape) }
