import Glibc
import VditTensor

/// A grid of evenly spaced frames of a clip, first and last included, in reading order.
public struct ContactSheet {
    private let columns: Int
    private let tileWidth: Int
    private let tileHeight: Int
    private let chosen: [Int]
    private var seen = 0
    private let scaler: PixelConverter?
    /// The sheet so far; tiles of frames not yet seen show the background.
    public let picture: VideoFrame

    private static let gap = 4
    /// Frames wider than this are scaled down to it.
    private static let widestTile = 480
    private static let background: UInt8 = 24

    /// - Parameters:
    ///   - frameCount: frames the clip will have.
    ///   - tiles: frames to show, fewer if the clip is shorter.
    /// - Throws: `MediaError` if swscale cannot be set up.
    public init(
        width: Int, height: Int, frameCount: Int, tiles: Int, depth: SampleDepth = .eight
    ) throws(MediaError) {
        precondition(width > 0 && height > 0 && frameCount > 0 && tiles > 0)
        let shown = min(tiles, frameCount)
        chosen = (0..<shown).map { shown == 1 ? 0 : $0 * (frameCount - 1) / (shown - 1) }
        tileWidth = min(width, Self.widestTile)
        tileHeight = max(1, (height * tileWidth + width / 2) / width)
        columns = Self.columns(for: shown, aspect: Double(tileWidth) / Double(tileHeight))
        let rows = (shown + columns - 1) / columns
        scaler =
            tileWidth == width
            ? nil
            : try PixelConverter(
                from: PixelConverter.samples(depth), to: PixelConverter.samples(depth),
                width: tileWidth, height: tileHeight, sourceSize: (width, height), ownsSource: true)
        picture = VideoFrame(
            height: rows * (tileHeight + Self.gap) + Self.gap,
            width: columns * (tileWidth + Self.gap) + Self.gap, depth: depth)
        memset(picture.pixels.rawPointer, Int32(Self.background), picture.pixels.byteCount)
    }

    /// Takes the next frame of the clip.
    public mutating func add(_ frame: VideoFrame) throws(MediaError) {
        defer { seen += 1 }
        guard let tile = chosen.firstIndex(of: seen) else { return }
        var small = frame
        if let scaler {
            try scaler.convert(frame)
            small = scaler.frame()
        }
        let bytes = 3 * small.depth.dtype.byteCount
        let left = Self.gap + tile % columns * (tileWidth + Self.gap)
        let top = Self.gap + tile / columns * (tileHeight + Self.gap)
        for row in 0..<tileHeight {
            memcpy(
                picture.pixels.rawPointer + ((top + row) * picture.width + left) * bytes,
                small.pixels.rawPointer + row * tileWidth * bytes, tileWidth * bytes)
        }
    }

    /// The grid that wastes no tile if there is one near the shape of a screen, else the nearest to it.
    private static func columns(for tiles: Int, aspect: Double) -> Int {
        let cost = { (columns: Int) -> Double in
            let rows = (tiles + columns - 1) / columns
            let shape = aspect * Double(columns) / Double(rows)
            return abs(log(shape / 1.6)) + Double(columns * rows - tiles) * 0.3
        }
        return (1...tiles).min { cost($0) < cost($1) } ?? 1
    }
}
