import VditFiles
import VditModels
import VditTensor

/// Latents on disk: what a decoder needs to make the video, or the noise to start from.
///
/// Tensor `latents` f32 `[1, channels, frames, height, width]`, normalised as the sampler has them; metadata
/// tells where they came from.
public enum LatentsFile {
    /// - Throws: `FileError` when it cannot be written.
    public static func write(
        _ latents: Tensor, metadata: [String: String], to path: String, existing: ExistingFile
    ) throws {
        var metadata = metadata
        metadata["format"] = "vdit-latents-1"
        metadata["normalized"] = "true"
        try SafetensorsWriter.write(
            ["latents": batched(latents)], metadata: metadata, to: path, existing: existing)
    }

    /// What a file says about its latents; nothing for `.npy`.
    public static func metadata(_ path: String) throws(FileError) -> [String: String] {
        path.hasSuffix(".npy") ? [:] : try SafetensorsReader(path).metadata
    }

    /// Reads latents of ours, of musubi-tuner (`latent`), or noise under a name diffusers users give it.
    ///
    /// - Parameters:
    ///   - channels: what the model or decoder takes.
    ///   - extents: frames, height, width they must have, where that is known.
    /// - Returns: `[channels, frames, height, width]` f32 and the file's metadata.
    /// - Throws: `TensorError` for a file that is no such file; `PipelineError.invalid` (65) for a wrong
    ///   shape or type, NaN or infinities.
    public static func read(
        _ path: String, channels: Int, extents: [Int]? = nil
    ) throws -> (latents: Tensor, metadata: [String: String]) {
        let stored: Tensor
        var metadata: [String: String] = [:]
        if path.hasSuffix(".npy") {
            stored = try Npy.read(path)
        } else {
            let file = try SafetensorsReader(path)
            let names = ["latents", "latent", "initial_noise", "noise"]
            guard let name = names.first(where: { file.info($0) != nil }) else {
                throw PipelineError.invalid(
                    "\(path): tensor latents",
                    found: "only " + file.names.prefix(5).joined(separator: ", "),
                    expected: "latents [1, \(channels), frames, height, width]", kind: .badData)
            }
            stored = try file.tensor(name)
            metadata = file.metadata
        }
        func refuse(_ field: String, _ found: String, _ expected: String) -> PipelineError {
            .invalid("\(path): \(field)", found: found, expected: expected, kind: .badData)
        }
        guard stored.dtype.isFloatingPoint else {
            throw refuse("dtype", stored.dtype.rawValue, "F32, F16 or BF16")
        }
        var shape = stored.shape
        if shape.count == 5, shape[0] == 1 { shape.removeFirst() }
        guard shape.count == 4, shape.allSatisfy({ $0 > 0 }) else {
            throw refuse("shape", "\(stored.shape)", "[1, \(channels), frames, height, width]")
        }
        guard shape[0] == channels else {
            throw refuse("channels", "\(shape[0])", "\(channels)")
        }
        if let extents, Array(shape.dropFirst()) != extents {
            throw refuse(
                "frames, height, width", "\(shape.dropFirst())",
                "\(extents), the latent size of the video asked for")
        }
        let values = stored.converted(to: .f32).reshaped(shape)
        guard values.isFinite else { throw refuse("values", "NaN or infinity", "finite numbers") }
        return (values, metadata)
    }
}

/// How latents tell what they were to be decoded with.
extension DecodeConditions {
    private static let keys = (
        time: "decode_timestep", scale: "decode_noise_scale", seed: "decode_seed", drawn: "decode_drawn"
    )

    var metadata: [String: String] {
        guard case .seed(let seed, let drawn) = noise else { return [:] }
        return [
            Self.keys.time: "\(timestep)", Self.keys.scale: "\(noiseScale)", Self.keys.seed: "\(seed)",
            Self.keys.drawn: drawn.map(String.init).joined(separator: ","),
        ]
    }

    /// - Throws: `PipelineError.invalid` (65) naming the key of a value that is none.
    init(metadata: [String: String], path: String) throws(PipelineError) {
        self.init()
        func number<Value: LosslessStringConvertible & Comparable>(
            _ key: String, _ range: ClosedRange<Value>
        ) throws(PipelineError) -> Value? {
            guard let text = metadata[key] else { return nil }
            guard let value = Value(text), range.contains(value) else {
                throw .invalid(
                    "\(path): metadata \(key)", found: text,
                    expected: "a number from \(range.lowerBound) to \(range.upperBound)", kind: .badData)
            }
            return value
        }
        timestep = try number(Self.keys.time, 0...1) ?? timestep
        noiseScale = try number(Self.keys.scale, 0...1) ?? noiseScale
        let written = metadata[Self.keys.drawn] ?? ""
        let drawn = written.split(separator: ",").map { Int($0) ?? 0 }
        guard drawn.allSatisfy({ (1...1 << 32).contains($0) }), drawn.count <= 100_000 else {
            throw .invalid(
                "\(path): metadata \(Self.keys.drawn)", found: written, expected: "whole numbers above 0",
                kind: .badData)
        }
        noise = .seed(try number(Self.keys.seed, 0...UInt64.max) ?? 0, drawn: drawn)
    }
}
