import Glibc
import VditTensor

/// Windows of frames, rows and columns around a part of the video, for methods whose mask follows from the layout.
enum BoxWindows {
    /// What an axis offers: a size of its window, and the share of the axis in that.
    struct Choice: Sendable {
        let size: Int
        let share: Double
    }

    /// A choice of each axis, so that their shares' product comes near `share`: of those within half of what a density
    /// may be off, the one whose axes have the most equal shares; else the nearest.
    static func nearest(to share: Double, among axes: [[Choice]]) -> [Int] {
        var best: (sizes: [Int], miss: Double, spread: Double)?
        for a in axes[0] {
            for b in axes[1] {
                for c in axes[2] {
                    let shares = [a.share, b.share, c.share]
                    let miss = max(
                        abs(shares.reduce(1, *) - share) - ConfiguredMethod.densityTolerance / 2, 0)
                    let spread = log((shares.max() ?? 1) / (shares.min() ?? 1))
                    if best.map({ (miss, spread) < ($0.miss, $0.spread) }) ?? true {
                        best = ([a.size, b.size, c.size], miss, spread)
                    }
                }
            }
        }
        return best?.sizes ?? []
    }

    /// Share of the pairs of video tokens that a density leaves, text being dense.
    static func share(_ density: Double, of layout: TokenLayout) -> Double {
        layout.videoPairs(density: density) / (Double(layout.videoTokens) * Double(layout.videoTokens))
    }

    /// Which of the products of three axes' parts are inside, the first axis outermost.
    static func inside(_ axes: [[Bool]]) -> [Int32] {
        var found: [Int32] = []
        var index: Int32 = 0
        for a in axes[0] {
            for b in axes[1] {
                for c in axes[2] {
                    if a && b && c { found.append(index) }
                    index += 1
                }
            }
        }
        return found
    }
}
