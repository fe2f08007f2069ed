import VditMedia
import VditTensor

/// Two videos of the same 8-bit Y'CbCr format compared as they are stored, plane by plane, in the conventions
/// of FFmpeg's `psnr` and `ssim` filters: what those print.
public struct PlaneQuality: Sendable, Codable, Equatable {
    public var pixelFormat: String
    /// Y', Cb, Cr, each from its mean squared error over all frames.
    public var psnr: [Nullable<Double>]
    /// From the mean squared error of all planes, each weighted by its area.
    @Nullable public var psnrAverage: Double?
    /// 8×8 blocks on a grid of 4; null where a plane is smaller than a block.
    public var ssim: [Nullable<Double>]
    @Nullable public var ssimAll: Double?

    /// Whether two clips can be compared so.
    static func serves(_ clip: ComparisonClip, _ reference: ComparisonClip) -> Bool {
        guard let a = clip.info, let b = reference.info else { return false }
        return a.pixelFormat == b.pixelFormat && a.pixelFormat.hasPrefix("yuv") && a.bitDepth == 8
            && !a.hadAlpha && !b.hadAlpha
    }

    /// Reads both files once more, as far as the shorter goes.
    init(_ clip: ComparisonClip, _ reference: ComparisonClip, pool: WorkPool?) throws {
        let (a, b) = (try FFmpegReader(clip.path), try FFmpegReader(reference.path))
        var squares: [Int] = []
        var areas: [Int] = []
        var similarity: [[Double]] = []
        var frames = 0
        while let left = try a.nextPlanes(), let right = try b.nextPlanes() {
            if frames == 0 {
                squares = left.planes.map { _ in 0 }
                areas = left.planes.map(\.count)
                similarity = left.planes.map { _ in [] }
            }
            for (index, (x, y)) in zip(left.planes, right.planes).enumerated() {
                squares[index] += Self.squaredError(x, y)
                if min(x.shape[0], x.shape[1]) >= SSIMWindow.block8.smallestSide {
                    similarity[index].append(try SSIM.plane(x, to: y, window: .block8, pool: pool))
                }
            }
            frames += 1
        }
        pixelFormat = a.info.pixelFormat
        psnr = zip(squares, areas).map { squared, area in
            Nullable(
                wrappedValue: PSNR.decibels(
                    meanSquared: Double(squared) / Double(max(1, area * frames))).finite)
        }
        let area = max(1, areas.reduce(0, +))
        psnrAverage =
            PSNR.decibels(
                meanSquared: Double(squares.reduce(0, +)) / Double(area * max(1, frames))
            ).finite
        let means = similarity.map(\.mean)
        ssim = means.map { Nullable(wrappedValue: $0) }
        ssimAll =
            means.contains(nil) || means.isEmpty
            ? nil
            : zip(means, areas).reduce(0) { $0 + ($1.0 ?? 0) * Double($1.1) } / Double(area)
    }

    private static func squaredError(_ a: Tensor, _ b: Tensor) -> Int {
        a.withBytes { x in
            b.withBytes { y in
                var sum = 0
                for index in 0..<min(x.count, y.count) {
                    let difference = Int(x[index]) - Int(y[index])
                    sum += difference * difference
                }
                return sum
            }
        }
    }
}
