import Foundation
import VDiT

/// Fixture files of the repository.
public enum Golden {
    /// The repository's root folder.
    public static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// `Tests/Golden/<path>`.
    public static func path(_ path: String) -> String {
        root.appendingPathComponent("Tests/Golden/\(path)").path
    }

    /// `samples/<path>`.
    public static func sample(_ path: String) -> String {
        root.appendingPathComponent("samples/\(path)").path
    }

    /// How far a tensor is from the expected one: relative RMS and largest absolute difference, in fp64.
    public static func difference(_ found: Tensor, _ expected: Tensor) -> (relative: Double, maximum: Double) {
        precondition(found.shape == expected.shape, "\(found.shape) against \(expected.shape)")
        let (a, b) = (found.floats(), expected.floats())
        var (squares, reference, maximum) = (0.0, 0.0, 0.0)
        for i in a.indices {
            let difference = Double(a[i]) - Double(b[i])
            squares += difference * difference
            reference += Double(b[i]) * Double(b[i])
            // A NaN must fail whatever it is compared with.
            maximum = difference.isNaN ? .infinity : max(maximum, abs(difference))
        }
        if squares.isNaN { return (.infinity, .infinity) }
        return ((squares / max(reference, 1e-300)).squareRoot(), maximum)
    }

    /// Mean squared difference of a video's frames from expected ones of 8 bits.
    ///
    /// - Parameters:
    ///   - video: `[3, frames, height, width]` f32 in -1...1.
    ///   - expected: `[frames, height, width, 3]` u8.
    public static func meanSquare(_ video: Tensor, _ expected: Tensor) throws -> Double {
        let pixels = try (0..<video.shape[1]).flatMap { number in
            try VideoFrame(rounding: video.channelsLastFrame(number)).pixels.withBytes { Array($0) }
        }
        let frames = expected.withBytes { Array($0) }
        precondition(pixels.count == frames.count)
        let squares = zip(pixels, frames).reduce(0) { $0 + (Int($1.0) - Int($1.1)) * (Int($1.0) - Int($1.1)) }
        return Double(squares) / Double(pixels.count)
    }

    /// The values of a float or int64 tensor.
    public static func numbers(_ tensor: Tensor) -> [Float] {
        guard tensor.dtype == .i64 else { return tensor.floats() }
        return tensor.withBytes { bytes in
            (0..<tensor.count).map { Float(bytes.loadUnaligned(fromByteOffset: 8 * $0, as: Int64.self)) }
        }
    }

    /// `[a, b, …]` as `[b, a, …]`, f32.
    public static func swappingFirstAxes(_ tensor: Tensor) -> Tensor {
        let (a, b) = (tensor.shape[0], tensor.shape[1])
        let inner = tensor.count / (a * b)
        let values = tensor.floats()
        var swapped: [Float] = []
        swapped.reserveCapacity(values.count)
        for j in 0..<b {
            for i in 0..<a { swapped += values[(i * b + j) * inner..<(i * b + j + 1) * inner] }
        }
        return Tensor(swapped, shape: [b, a] + tensor.shape.dropFirst(2))
    }
}
