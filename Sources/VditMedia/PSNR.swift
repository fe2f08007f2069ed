import Glibc
import VditTensor

/// How far one frame is from another.
public struct FrameError: Sendable, Equatable {
    /// Squared differences summed over the picture, exact, for R', G' and B'.
    public let squared: [UInt64]
    /// Squared differences of BT.709 luma (0.2126 R' + 0.7152 G' + 0.0722 B', not rounded), summed.
    public let squaredLuma: Double
    /// Pixels of the picture.
    public let pixels: Int
    public let depth: SampleDepth

    public var isIdentical: Bool { squared.allSatisfy { $0 == 0 } }
    /// Mean over height, width and the three channels.
    public var meanSquared: Double { Double(squared.reduce(0, &+)) / Double(3 * pixels) }
    /// dB over R'G'B'; infinite for identical frames.
    public var psnr: Double { PSNR.decibels(meanSquared: meanSquared, depth) }
    /// dB of luma; infinite for identical frames.
    public var lumaPSNR: Double { PSNR.decibels(meanSquared: squaredLuma / Double(pixels), depth) }
}

/// Peak signal-to-noise ratio of a clip of R'G'B' frames: peak 255 (65535 for 16 bits), after rounding to integers.
public struct PSNR: Sendable, Equatable {
    public private(set) var frames: [FrameError] = []

    public init() {}

    /// 10 log10(peak² / MSE); infinite for 0.
    public static func decibels(meanSquared: Double, _ depth: SampleDepth = .eight) -> Double {
        10 * log10(depth.peak * depth.peak / meanSquared)
    }

    /// Compares one frame. The sums do not depend on the pool.
    ///
    /// - Throws: `MediaError.invalid` if the sizes or depths differ.
    public static func compare(
        _ frame: VideoFrame, to reference: VideoFrame, pool: WorkPool? = nil
    ) throws(MediaError) -> FrameError {
        try requireAlike(frame, reference)
        return error([(1, frame, reference)], pool)
    }

    /// Compares how two clips change from one frame to the next: the error of the temporal difference, which
    /// flicker raises and a constant offset does not.
    ///
    /// - Throws: `MediaError.invalid` if the sizes or depths differ.
    public static func compareChange(
        from before: VideoFrame, to after: VideoFrame, reference beforeReference: VideoFrame,
        _ afterReference: VideoFrame, pool: WorkPool? = nil
    ) throws(MediaError) -> FrameError {
        for other in [after, beforeReference, afterReference] { try requireAlike(before, other) }
        return error([(1, after, afterReference), (-1, before, beforeReference)], pool)
    }

    /// Appends the next frame of the clip.
    public mutating func add(_ error: FrameError) { frames.append(error) }

    /// dB of the mean squared error over all frames: FFmpeg's "average".
    public var pooled: Double {
        let mean = frames.reduce(0) { $0 + $1.meanSquared } / Double(frames.count)
        return Self.decibels(meanSquared: mean, frames.first?.depth ?? .eight)
    }

    /// As `pooled`, of luma.
    public var pooledLuma: Double {
        let sum = frames.reduce(0) { $0 + $1.squaredLuma }
        let pixels = frames.reduce(0) { $0 + $1.pixels }
        return Self.decibels(meanSquared: sum / Double(pixels), frames.first?.depth ?? .eight)
    }

    /// As `pooled`, for R', G' and B' alone.
    public var pooledChannels: [Double] {
        let pixels = frames.reduce(0) { $0 + $1.pixels }
        return (0..<3).map { channel in
            let sum = frames.reduce(0) { $0 + Double($1.squared[channel]) }
            return Self.decibels(meanSquared: sum / Double(pixels), frames.first?.depth ?? .eight)
        }
    }

    /// The mean of the frames' own dB, as papers print it, over the frames that differ; infinite if none does.
    public var meanOfFrames: Double {
        let finite = frames.filter { !$0.isIdentical }.map(\.psnr)
        return finite.isEmpty ? .infinity : finite.reduce(0, +) / Double(finite.count)
    }

    public var identicalFrames: Int { frames.count { $0.isIdentical } }

    /// The sum over (sign, a, b) of sign * (a - b), squared and summed over the picture.
    private static func error(
        _ pairs: [(sign: Int, a: VideoFrame, b: VideoFrame)], _ pool: WorkPool?
    ) -> FrameError {
        let (height, width) = (pairs[0].a.height, pairs[0].a.width)
        let depth = pairs[0].a.depth
        let squared = Tensor(.u64, [height, 3])
        let luma = Tensor(.f64, [height])
        forEachItem(height, pool) { row in
            let sums = squared[row].pointer(as: UInt64.self)
            let total = luma.pointer(as: Double.self) + row
            switch depth {
            case .eight: rowError(pairs, row, width, UInt8.self, sums, total)
            case .sixteen: rowError(pairs, row, width, UInt16.self, sums, total)
            }
        }
        let sums = squared.pointer(as: UInt64.self)
        let lumas = luma.pointer(as: Double.self)
        return withExtendedLifetime((squared, luma)) {
            FrameError(
                squared: (0..<3).map { channel in
                    (0..<height).reduce(0) { $0 + sums[3 * $1 + channel] }
                },
                squaredLuma: (0..<height).reduce(0) { $0 + lumas[$1] }, pixels: height * width, depth: depth)
        }
    }

    private static func rowError<Sample: FixedWidthInteger>(
        _ pairs: [(sign: Int, a: VideoFrame, b: VideoFrame)], _ row: Int, _ width: Int,
        _ type: Sample.Type, _ sums: UnsafeMutablePointer<UInt64>, _ luma: UnsafeMutablePointer<Double>
    ) {
        let rows = pairs.map { pair in
            (
                sign: pair.sign, a: pair.a.pixels[row].pointer(as: Sample.self),
                b: pair.b.pixels[row].pointer(as: Sample.self)
            )
        }
        for column in 0..<width {
            var weighted = 0.0
            for channel in 0..<3 {
                var difference = 0
                for pair in rows {
                    let index = 3 * column + channel
                    difference += pair.sign * (Int(pair.a[index]) - Int(pair.b[index]))
                }
                sums[channel] += UInt64(difference * difference)
                weighted += Luma.weights[channel] * Double(difference)
            }
            luma.pointee += weighted * weighted
        }
    }
}

/// BT.709 luma of R'G'B'.
enum Luma {
    static let weights = [0.2126, 0.7152, 0.0722]
}

/// Refuses to compare pictures of different shapes.
func requireAlike(_ frame: VideoFrame, _ reference: VideoFrame) throws(MediaError) {
    if frame.pixels.shape != reference.pixels.shape || frame.depth != reference.depth {
        throw .invalid(
            "frame to compare", found: "\(frame.width)x\(frame.height) of \(frame.depth.rawValue) bits",
            expected: "\(reference.width)x\(reference.height) of \(reference.depth.rawValue) bits",
            kind: .badData)
    }
}
