import Glibc
import VditTensor

/// The windows structural similarity is measured in. Their values differ by up to 0.05: say which one is printed.
public enum SSIMWindow: String, Sendable, CaseIterable, Codable {
    /// 11x11 Gaussian of sigma 1.5, population covariance, windows wholly inside: Wang et al. 2004 and
    /// scikit-image with `gaussian_weights=True, use_sample_covariance=False`.
    case gaussian11
    /// 7x7 uniform, sample covariance: scikit-image's default.
    case uniform7
    /// 8x8 uniform on a grid of stride 4: FFmpeg's `ssim` filter.
    case block8

    /// The smallest width and height it can measure.
    public var smallestSide: Int {
        switch self {
        case .gaussian11: 11
        case .uniform7: 7
        case .block8: 8
        }
    }
}

/// Structural similarity, 1 for identical pictures, in double precision.
public enum SSIM {
    /// Of each of R', G' and B'; papers print their mean.
    ///
    /// - Throws: `MediaError.invalid` if the sizes differ or a side is smaller than the window.
    public static func channels(
        _ frame: VideoFrame, to reference: VideoFrame, window: SSIMWindow = .gaussian11,
        pool: WorkPool? = nil
    ) throws(MediaError) -> [Double] {
        try requireAlike(frame, reference)
        var values: [Double] = []
        for channel in 0..<3 {
            let (a, b) = (Plane(frame, channel: channel), Plane(reference, channel: channel))
            values.append(try plane(a, b, window, frame.depth, pool))
        }
        return values
    }

    /// Of BT.709 luma, not rounded.
    ///
    /// - Throws: `MediaError.invalid` if the sizes differ or a side is smaller than the window.
    public static func luma(
        _ frame: VideoFrame, to reference: VideoFrame, window: SSIMWindow = .gaussian11,
        pool: WorkPool? = nil
    ) throws(MediaError) -> Double {
        try requireAlike(frame, reference)
        return try plane(Plane(luma: frame), Plane(luma: reference), window, frame.depth, pool)
    }

    /// Of one plane, u8 or u16 `[height, width]`, such as those of `FFmpegReader.nextPlanes`.
    ///
    /// - Throws: `MediaError.invalid` if the shapes differ or a side is smaller than the window.
    public static func plane(
        _ plane: Tensor, to reference: Tensor, window: SSIMWindow = .gaussian11, pool: WorkPool? = nil
    ) throws(MediaError) -> Double {
        try requireSameShape(plane, reference)
        return try Self.plane(
            Plane(plane), Plane(reference), window, plane.dtype == .u8 ? .eight : .sixteen, pool)
    }

    /// Multi-scale SSIM of one plane, u8 or u16 `[height, width]`: five scales, each half the one before.
    ///
    /// - Throws: `MediaError.invalid` if the shapes differ or a side is smaller than 161.
    /// - Source: Wang et al. 2003; conventions (clipping at 0, zero-padded 2x2 means) of pytorch-msssim 1.0.0.
    /// - Differs: its window is rounded to fp32, ours is not; the value moves by about 1e-6.
    public static func multiScale(
        _ plane: Tensor, to reference: Tensor, pool: WorkPool? = nil
    ) throws(MediaError) -> Double {
        try multiScale(plane, to: reference, taps: nil, pool: pool)
    }

    /// As the public one, with the given window instead of the exact Gaussian.
    package static func multiScale(
        _ plane: Tensor, to reference: Tensor, taps: [Double]?, pool: WorkPool? = nil
    ) throws(MediaError) -> Double {
        try requireSameShape(plane, reference)
        let depth: SampleDepth = plane.dtype == .u8 ? .eight : .sixteen
        let window = taps.map { Windowed($0, 1, depth) } ?? .gaussian(depth)
        return try multiScale(Plane(plane), Plane(reference), window, pool)
    }

    /// Multi-scale SSIM as the mean over R', G' and B'.
    ///
    /// - Throws: `MediaError.invalid` if the sizes differ or a side is smaller than 161.
    public static func multiScale(
        _ frame: VideoFrame, to reference: VideoFrame, pool: WorkPool? = nil
    ) throws(MediaError) -> Double {
        try requireAlike(frame, reference)
        var sum = 0.0
        for channel in 0..<3 {
            let (a, b) = (Plane(frame, channel: channel), Plane(reference, channel: channel))
            sum += try multiScale(a, b, .gaussian(frame.depth), pool)
        }
        return sum / 3
    }

    private static func requireSameShape(_ plane: Tensor, _ reference: Tensor) throws(MediaError) {
        precondition(plane.rank == 2 && (plane.dtype == .u8 || plane.dtype == .u16))
        if plane.shape != reference.shape || plane.dtype != reference.dtype {
            throw .invalid(
                "plane to compare", found: "\(plane.dtype.rawValue) \(plane.shape)",
                expected: "\(reference.dtype.rawValue) \(reference.shape)", kind: .badData)
        }
    }

    private static func requireSide(_ plane: Plane, _ smallest: Int, _ what: String) throws(MediaError) {
        if plane.width < smallest || plane.height < smallest {
            throw .invalid(
                "picture for \(what)", found: "\(plane.width)x\(plane.height)",
                expected: "at least \(smallest)x\(smallest)", kind: .badData)
        }
    }

    private static func plane(
        _ a: Plane, _ b: Plane, _ window: SSIMWindow, _ depth: SampleDepth, _ pool: WorkPool?
    ) throws(MediaError) -> Double {
        try requireSide(a, window.smallestSide, "SSIM in \(window.rawValue) windows")
        return switch window {
        case .gaussian11: windowed(a, b, Windowed.gaussian(depth), pool).ssim
        case .uniform7: windowed(a, b, Windowed.uniform7(depth), pool).ssim
        case .block8: blocks(a, b, depth, pool)
        }
    }

    private static func multiScale(
        _ a: Plane, _ b: Plane, _ window: Windowed, _ pool: WorkPool?
    ) throws(MediaError) -> Double {
        try requireSide(a, 161, "multi-scale SSIM")
        let weights = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]
        var (a, b) = (a, b)
        var result = 1.0
        for (scale, weight) in weights.enumerated() {
            let value = windowed(a, b, window, pool)
            let isLast = scale == weights.count - 1
            result *= pow(max(0, isLast ? value.ssim : value.contrast), weight)
            if !isLast { (a, b) = (a.halved(), b.halved()) }
        }
        return result
    }

    /// A separable window and the constants of the index.
    private struct Windowed {
        let taps: [Double]
        let covarianceScale: Double
        let c1: Double
        let c2: Double

        init(_ taps: [Double], _ covarianceScale: Double, _ depth: SampleDepth) {
            self.taps = taps
            self.covarianceScale = covarianceScale
            c1 = (0.01 * depth.peak) * (0.01 * depth.peak)
            c2 = (0.03 * depth.peak) * (0.03 * depth.peak)
        }

        static func gaussian(_ depth: SampleDepth) -> Windowed {
            let raw = (-5...5).map { exp(-Double($0 * $0) / (2 * 1.5 * 1.5)) }
            let sum = raw.reduce(0, +)
            return Windowed(raw.map { $0 / sum }, 1, depth)
        }

        static func uniform7(_ depth: SampleDepth) -> Windowed {
            Windowed([Double](repeating: 1.0 / 7, count: 7), 49.0 / 48, depth)
        }
    }

    /// Means over all windows of the index and of its contrast-structure factor.
    private static func windowed(
        _ a: Plane, _ b: Plane, _ window: Windowed, _ pool: WorkPool?
    ) -> (ssim: Double, contrast: Double) {
        let taps = window.taps.count
        let (rows, columns) = (a.height - taps + 1, a.width - taps + 1)
        let sums = Tensor(.f64, [rows, 2])
        forEachItem(rows, pool) { row in
            let total = sums[row].pointer(as: Double.self)
            let width = a.width
            // Vertical sums of a, b, a², b² and ab, each a row of the picture's width.
            withUnsafeTemporaryAllocation(of: Double.self, capacity: 5 * width) { vertical in
                let sum = vertical.baseAddress!
                sum.initialize(repeating: 0, count: 5 * width)
                for tap in 0..<taps {
                    let weight = window.taps[tap]
                    let (x, y) = (a.row(row + tap), b.row(row + tap))
                    for column in 0..<width {
                        let (p, q) = (x[column], y[column])
                        sum[column] += weight * p
                        sum[width + column] += weight * q
                        sum[2 * width + column] += weight * (p * p)
                        sum[3 * width + column] += weight * (q * q)
                        sum[4 * width + column] += weight * (p * q)
                    }
                }
                for column in 0..<columns {
                    var (ux, uy, uxx, uyy, uxy) = (0.0, 0.0, 0.0, 0.0, 0.0)
                    for tap in 0..<taps {
                        let weight = window.taps[tap]
                        let from = sum + column + tap
                        ux += weight * from[0]
                        uy += weight * from[width]
                        uxx += weight * from[2 * width]
                        uyy += weight * from[3 * width]
                        uxy += weight * from[4 * width]
                    }
                    let scale = window.covarianceScale
                    let (vx, vy) = (scale * (uxx - ux * ux), scale * (uyy - uy * uy))
                    let vxy = scale * (uxy - ux * uy)
                    let contrast = (2 * vxy + window.c2) / (vx + vy + window.c2)
                    total[0] += (2 * ux * uy + window.c1) / (ux * ux + uy * uy + window.c1) * contrast
                    total[1] += contrast
                }
            }
        }
        let count = Double(rows * columns)
        return (sums.column(0) / count, sums.column(1) / count)
    }

    /// FFmpeg's convention, with its rounded constants.
    private static func blocks(_ a: Plane, _ b: Plane, _ depth: SampleDepth, _ pool: WorkPool?) -> Double {
        let (rows, columns) = (a.height / 4 - 1, a.width / 4 - 1)
        let c1 = floor(0.01 * 0.01 * depth.peak * depth.peak * 64 + 0.5)
        let c2 = floor(0.03 * 0.03 * depth.peak * depth.peak * 64 * 63 + 0.5)
        let sums = Tensor(.f64, [rows, 1])
        forEachItem(rows, pool) { row in
            let total = sums[row].pointer(as: Double.self)
            for column in 0..<columns {
                var (s1, s2, squares, products) = (0.0, 0.0, 0.0, 0.0)
                for y in 0..<8 {
                    let (x1, x2) = (a.row(4 * row + y) + 4 * column, b.row(4 * row + y) + 4 * column)
                    for x in 0..<8 {
                        s1 += x1[x]
                        s2 += x2[x]
                        squares += x1[x] * x1[x] + x2[x] * x2[x]
                        products += x1[x] * x2[x]
                    }
                }
                let variance = 64 * squares - s1 * s1 - s2 * s2
                let covariance = 64 * products - s1 * s2
                total[0] +=
                    (2 * s1 * s2 + c1) * (2 * covariance + c2)
                    / ((s1 * s1 + s2 * s2 + c1) * (variance + c2))
            }
        }
        return sums.column(0) / Double(rows * columns)
    }
}

/// One channel of a picture as doubles.
private struct Plane: Sendable {
    let width: Int
    let height: Int
    private let values: Tensor

    private init(width: Int, height: Int, _ value: (Int) -> Double) {
        self.width = width
        self.height = height
        values = Tensor(.f64, [height, width])
        let target = values.pointer(as: Double.self)
        for index in 0..<width * height { target[index] = value(index) }
    }

    init(_ plane: Tensor) {
        self.init(samples: plane, width: plane.shape[1], height: plane.shape[0], stride: 1, offset: 0)
    }

    init(_ frame: VideoFrame, channel: Int) {
        self.init(
            samples: frame.pixels, width: frame.width, height: frame.height, stride: 3, offset: channel)
    }

    init(luma frame: VideoFrame) {
        let channels = (0..<3).map { Plane(frame, channel: $0).values }
        self.init(width: frame.width, height: frame.height) { index in
            (0..<3).reduce(0) { $0 + Luma.weights[$1] * channels[$1].pointer(as: Double.self)[index] }
        }
    }

    private init(samples: Tensor, width: Int, height: Int, stride: Int, offset: Int) {
        if samples.dtype == .u8 {
            let source = samples.pointer(as: UInt8.self)
            self.init(width: width, height: height) { Double(source[stride * $0 + offset]) }
        } else {
            let source = samples.pointer(as: UInt16.self)
            self.init(width: width, height: height) { Double(source[stride * $0 + offset]) }
        }
    }

    func row(_ index: Int) -> UnsafePointer<Double> {
        UnsafePointer(values.pointer(as: Double.self) + index * width)
    }

    /// Means of 2x2 blocks; an odd side is padded by one line of zeros before its first, and they count.
    func halved() -> Plane {
        let (padX, padY) = (width % 2, height % 2)
        let (newWidth, newHeight) = ((width + padX) / 2, (height + padY) / 2)
        let source = values.pointer(as: Double.self)
        return Plane(width: newWidth, height: newHeight) { index in
            var sum = 0.0
            for y in 0..<2 {
                for x in 0..<2 {
                    let column = index % newWidth * 2 + x - padX
                    let row = index / newWidth * 2 + y - padY
                    if column >= 0, row >= 0 { sum += source[row * width + column] }
                }
            }
            return sum / 4
        }
    }
}

extension Tensor {
    /// The sum of one column of an f64 matrix, in row order.
    fileprivate func column(_ column: Int) -> Double {
        let values = pointer(as: Double.self)
        return (0..<shape[0]).reduce(0) { $0 + values[$1 * shape[1] + column] }
    }
}
