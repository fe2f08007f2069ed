import VditFiles
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
struct StepLatents: Sendable {
    let folder: String
    let steps: Int

    /// The last step's are written last.
    var isComplete: Bool { FilePath.exists(path(steps - 1)) }

    /// Distance after every step.
    func distances(to reference: StepLatents) throws -> [LatentDistance] {
        try (0..<steps).map { try LatentDistance(latents($0), to: reference.latents($0)) }
    }

    /// The tensor after step `index`, from 0.
    private func latents(_ index: Int) throws -> Tensor { try SafetensorsReader(path(index)).tensor("latents") }

    private func path(_ index: Int) -> String { folder + "/" + TrajectoryWriter.name(ofStep: index) }
}
