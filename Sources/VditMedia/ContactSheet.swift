import Glibc
import VditTensor

/// A grid of evenly spaced frames of a clip, first and last included, in reading order, each with its number and time
/// below it where there is room for them.
public struct ContactSheet {
    private let columns: Int
    private let tileWidth: Int
    private let tileHeight: Int
    private let captions: [String]
    private let chosen: [Int]
    private var seen = 0
    private let scaler: PixelConverter?
    /// The sheet so far; tiles of frames not yet seen show the background.
    public let picture: VideoFrame

    private static let gap = 4
    /// Frames wider than this are scaled down to it.
    private static let widestTile = 480
    private static let background: UInt8 = 24
    private static let ink: UInt8 = 200

    /// - Parameters:
    ///   - frameCount: frames the clip will have.
    ///   - tiles: frames to show, fewer if the clip is shorter.
    /// - Throws: `MediaError` if swscale cannot be set up.
    public init(
        width: Int, height: Int, frameCount: Int, tiles: Int, frameRate: FrameRate, depth: SampleDepth = .eight
    ) throws(MediaError) {
        precondition(width > 0 && height > 0 && frameCount > 0 && tiles > 0)
        let shown = min(tiles, frameCount)
        chosen = (0..<shown).map { shown == 1 ? 0 : $0 * (frameCount - 1) / (shown - 1) }
        tileWidth = min(width, Self.widestTile)
        tileHeight = max(1, (height * tileWidth + width / 2) / width)
        captions = Self.captions(chosen, frameRate, width: tileWidth)
        columns = pictureColumns(for: shown, aspect: Double(tileWidth) / Double(tileHeight))
        let rows = (shown + columns - 1) / columns
        scaler =
            tileWidth == width
            ? nil
            : try PixelConverter(
                from: PixelConverter.samples(depth), to: PixelConverter.samples(depth),
                width: tileWidth, height: tileHeight, sourceSize: (width, height), ownsSource: true)
        picture = VideoFrame(
            height: rows * Self.pitch(tileHeight, captions) + Self.gap,
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
        let top = Self.gap + tile / columns * Self.pitch(tileHeight, captions)
        for row in 0..<tileHeight {
            memcpy(
                picture.pixels.rawPointer + ((top + row) * picture.width + left) * bytes,
                small.pixels.rawPointer + row * tileWidth * bytes, tileWidth * bytes)
        }
        if !captions.isEmpty {
            Lettering.draw(
                captions[tile], on: picture.pixels, left: left, top: top + tileHeight + 1, shade: Self.ink)
        }
    }

    /// What stands below the frames: the longest form that is no wider than any of them; empty for none.
    private static func captions(_ frames: [Int], _ rate: FrameRate, width: Int) -> [String] {
        let times = frames.map { frame in
            let hundredths = (200 * frame * rate.denominator + rate.numerator) / (2 * rate.numerator)
            return "\(hundredths / 100).\(hundredths % 100 / 10)\(hundredths % 10) s"
        }
        let forms = [
            zip(frames, times).map { "frame \($0), \($1)" }, zip(frames, times).map { "\($0), \($1)" },
            frames.map(String.init),
        ]
        return forms.first { $0.allSatisfy { Lettering.width($0) <= width } } ?? []
    }

    /// Rows from a tile's top to the next one's.
    private static func pitch(_ tileHeight: Int, _ captions: [String]) -> Int {
        tileHeight + gap + (captions.isEmpty ? 0 : Lettering.height)
    }
}

/// Columns of a grid of pictures that wastes no place if there is such a grid near the shape of a screen, else of the
/// nearest to it.
func pictureColumns(for pictures: Int, aspect: Double) -> Int {
    let cost = { (columns: Int) -> Double in
        let rows = (pictures + columns - 1) / columns
        let shape = aspect * Double(columns) / Double(rows)
        return abs(log(shape / 1.6)) + Double(columns * rows - pictures) * 0.3
    }
    return (1...pictures).min { cost($0) < cost($1) } ?? 1
}
