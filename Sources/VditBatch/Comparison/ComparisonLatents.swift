import Foundation
import VditPipeline
import VditTensor

/// How far latents are from other latents.
public struct LatentDistance: Sendable, Codable, Equatable {
    /// Of the angle between them; 1 for the same direction.
    public var cosine: Double
    /// ‖found − expected‖ / ‖expected‖.
    public var relativeError: Double

    /// Sums in fp64. Latents of only zeros have no direction: they are 0 from each other and 1 from others.
    public init(_ found: Tensor, to expected: Tensor) throws(BatchError) {
        guard found.count == expected.count, found.dtype == .f32, expected.dtype == .f32 else {
            throw .invalid(
                "latents to compare", found: "\(found.dtype.rawValue) \(found.shape)",
                expected: "F32 \(expected.shape)", kind: .badData)
        }
        var (product, own, other, error) = (0.0, 0.0, 0.0, 0.0)
        found.withFloats { a in
            expected.withFloats { b in
                for index in a.indices {
                    let (x, y) = (Double(a[index]), Double(b[index]))
                    product += x * y
                    own += x * x
                    other += y * y
                    error += (x - y) * (x - y)
                }
            }
        }
        if error == 0 {
            (cosine, relativeError) = (1, 0)
        } else {
            cosine = own > 0 && other > 0 ? product / (own * other).squareRoot() : 0
            relativeError = other > 0 ? (error / other).squareRoot() : 1
        }
    }
}

/// The latents after every step of a render, in a folder as `TrajectoryWriter` leaves it.
struct StepLatents {
    let folder: String

    /// The tensor after step `index`, from 0.
    func latents(_ index: Int) throws -> Tensor { try SafetensorsReader(path(index)).tensor("latents") }

    /// Distance after every step.
    func distances(to reference: StepLatents, steps: Int) throws -> [LatentDistance] {
        try (0..<steps).map { try LatentDistance(try latents($0), to: try reference.latents($0)) }
    }

    /// Drops all but the latents: what a reference is kept for.
    func compact(steps: Int) throws {
        for index in 0..<steps {
            let file = try SafetensorsReader(path(index))
            if file.names == ["latents"] { continue }
            let latents = try file.tensor("latents").copy()
            try SafetensorsWriter.write(
                ["latents": latents], metadata: file.metadata, to: path(index), existing: .replace)
        }
        try? FileManager.default.removeItem(atPath: "\(folder)/initial_noise.safetensors")
    }

    func remove() { try? FileManager.default.removeItem(atPath: folder) }

    private func path(_ index: Int) -> String {
        folder + "/step_" + String(repeating: "0", count: max(0, 3 - "\(index)".count)) + "\(index).safetensors"
    }
}
