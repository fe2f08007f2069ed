import Glibc
import VditTensor

/// How a picture of another shape becomes one of the video's.
public enum ImageFit: String, Sendable, CaseIterable {
    /// Scaled until it covers the video's; what stands over is cut off on both sides.
    case crop
    /// Height and width are scaled by themselves.
    case stretch
}

/// What a sample of a resized picture is made of. Filters widen where a picture shrinks.
public enum ResizeFilter: Sendable {
    /// Three lobes.
    case lanczos
    /// Of a = −0.5.
    case bicubic

    /// Samples on either side, where nothing shrinks.
    fileprivate var reach: Double { self == .lanczos ? 3 : 2 }

    fileprivate func weight(_ x: Double) -> Double {
        let distance = abs(x)
        if distance == 0 { return 1 }
        if distance >= reach { return 0 }
        switch self {
        case .lanczos:
            let angle = x * Double.pi
            return sin(angle) / angle * sin(angle / 3) / (angle / 3)
        case .bicubic:
            return distance < 1
                ? (1.5 * distance - 2.5) * distance * distance + 1
                : ((distance - 5) * distance + 8) * distance * -0.5 + 2
        }
    }
}

extension VideoFrame {
    /// How a picture of this size covers another: the size to scale it to before it is cropped.
    public func covering(width: Int, height: Int) -> (width: Int, height: Int) {
        let scale = max(Double(width) / Double(self.width), Double(height) / Double(self.height))
        return (
            max(width, Int((Double(self.width) * scale).rounded())),
            max(height, Int((Double(self.height) * scale).rounded()))
        )
    }

    /// An 8-bit picture at another size.
    public func fitted(width: Int, height: Int, _ fit: ImageFit) -> VideoFrame {
        if fit == .stretch { return resized(width: width, height: height) }
        let cover = covering(width: width, height: height)
        return resized(width: cover.width, height: cover.height).cropped(width: width, height: height)
    }

    /// The middle of an 8-bit picture.
    public func cropped(width: Int, height: Int) -> VideoFrame {
        precondition(depth == .eight && width <= self.width && height <= self.height)
        let (left, top) = ((self.width - width) / 2, (self.height - height) / 2)
        let result = VideoFrame(height: height, width: width)
        for row in 0..<height { result.pixels[row].assign(pixels[top + row].slice(left..<left + width)) }
        return result
    }

    /// An 8-bit picture at another size; to the bit what Pillow 13 makes of it, which rounds between the axes.
    ///
    /// - Source: Pillow's `resize` with LANCZOS, which diffusers uses, and with BICUBIC, as CLIP's processor does.
    public func resized(width: Int, height: Int, by filter: ResizeFilter = .lanczos) -> VideoFrame {
        precondition(depth == .eight)
        let shrinksHeightMore = self.height - height > 2 * max(0, self.width - width)
        let first = shrinksHeightMore ? resampledRows(to: height, filter) : resampledColumns(to: width, filter)
        return shrinksHeightMore ? first.resampledColumns(to: width, filter) : first.resampledRows(to: height, filter)
    }

    private func resampledColumns(to count: Int, _ filter: ResizeFilter) -> VideoFrame {
        if count == width { return self }
        let result = VideoFrame(height: height, width: count)
        let (source, target) = (pixels.pointer(of: UInt8.self), result.pixels.pointer(of: UInt8.self))
        for (column, taps) in resizeTaps(filter, of: width, to: count).enumerated() {
            for row in 0..<height {
                for colour in 0..<3 {
                    let from = (row * width + taps.first) * 3 + colour
                    target[(row * count + column) * 3 + colour] = taps.sum { source[from + $0 * 3] }
                }
            }
        }
        return result
    }

    private func resampledRows(to count: Int, _ filter: ResizeFilter) -> VideoFrame {
        if count == height { return self }
        let result = VideoFrame(height: count, width: width)
        let (source, target) = (pixels.pointer(of: UInt8.self), result.pixels.pointer(of: UInt8.self))
        let stride = width * 3
        for (row, taps) in resizeTaps(filter, of: height, to: count).enumerated() {
            for place in 0..<stride {
                let from = taps.first * stride + place
                target[row * stride + place] = taps.sum { source[from + $0 * stride] }
            }
        }
        return result
    }
}

/// The samples that make one sample of a resampled axis.
private struct ResizeTaps {
    let first: Int
    /// In units of 2⁻²².
    let weights: [Int]

    func sum(_ sample: (Int) -> UInt8) -> UInt8 {
        var total = 1 << 21
        for index in weights.indices { total += weights[index] * Int(sample(index)) }
        return UInt8(min(max(total >> 22, 0), 255))
    }
}

private func resizeTaps(_ filter: ResizeFilter, of extent: Int, to count: Int) -> [ResizeTaps] {
    let scale = Double(extent) / Double(count)
    let stretch = max(scale, 1)
    return (0..<count).map { index in
        let centre = (Double(index) + 0.5) * scale
        let first = max(0, Int(centre - filter.reach * stretch + 0.5))
        let end = min(extent, Int(centre + filter.reach * stretch + 0.5))
        let raw = (first..<end).map { filter.weight((Double($0) - centre + 0.5) / stretch) }
        let sum = raw.reduce(0, +)
        return ResizeTaps(
            first: first, weights: raw.map { Int(($0 / sum * 4_194_304).rounded(.toNearestOrAwayFromZero)) })
    }
}
