import Glibc
import VditTensor

/// How a picture of another shape becomes one of the video's.
public enum ImageFit: String, Sendable, CaseIterable {
    /// What does not fit is cut off on both sides.
    case crop
    /// Height and width are scaled by themselves.
    case stretch
}

extension VideoFrame {
    /// An 8-bit picture at another size, by Lanczos filters of three lobes that widen where it shrinks.
    ///
    /// - Source: Pillow's `resize` with LANCZOS, which diffusers uses.
    /// - Differs: sums are fp64 and rounded once for both axes.
    public func fitted(width: Int, height: Int, _ fit: ImageFit) -> VideoFrame {
        precondition(depth == .eight)
        if (width, height) == (self.width, self.height) { return self }
        let scales = (Double(self.width) / Double(width), Double(self.height) / Double(height))
        let common = min(scales.0, scales.1)
        let across = lanczosTaps(of: self.width, to: width, scale: fit == .crop ? common : scales.0)
        let down = lanczosTaps(of: self.height, to: height, scale: fit == .crop ? common : scales.1)
        let source = pixels.pointer(of: UInt8.self)
        var narrow = [Double](repeating: 0, count: self.height * width * 3)
        for row in 0..<self.height {
            for (column, taps) in across.enumerated() {
                let place = (row * width + column) * 3
                for (offset, weight) in taps.weights.enumerated() {
                    let from = (row * self.width + taps.first + offset) * 3
                    for colour in 0..<3 { narrow[place + colour] += weight * Double(source[from + colour]) }
                }
            }
        }
        let result = VideoFrame(height: height, width: width)
        let target = result.pixels.pointer(of: UInt8.self)
        var line = [Double](repeating: 0, count: width * 3)
        for (row, taps) in down.enumerated() {
            for place in line.indices { line[place] = 0 }
            for (offset, weight) in taps.weights.enumerated() {
                let from = (taps.first + offset) * width * 3
                for place in line.indices { line[place] += weight * narrow[from + place] }
            }
            for place in line.indices {
                target[row * width * 3 + place] = UInt8(min(max(line[place].rounded(), 0), 255))
            }
        }
        return result
    }
}

/// The source samples that make each sample of a resampled axis, and their weights; the middle of the axis is kept
/// where `scale`, source samples for each, leaves some over.
private func lanczosTaps(of extent: Int, to count: Int, scale: Double) -> [(first: Int, weights: [Double])] {
    let stretch = max(scale, 1)
    let start = (Double(extent) - scale * Double(count)) / 2
    return (0..<count).map { index in
        let centre = start + (Double(index) + 0.5) * scale
        let first = min(max(0, Int((centre - 3 * stretch + 0.5).rounded(.down))), extent - 1)
        let end = max(first + 1, min(extent, Int((centre + 3 * stretch + 0.5).rounded(.down))))
        let raw = (first..<end).map { lanczos((Double($0) - centre + 0.5) / stretch) }
        let sum = raw.reduce(0, +)
        return (first, raw.map { $0 / sum })
    }
}

private func lanczos(_ x: Double) -> Double {
    if x == 0 { return 1 }
    if abs(x) >= 3 { return 0 }
    let angle = x * Double.pi
    return 3 * sin(angle) * sin(angle / 3) / (angle * angle)
}
