import CFFmpeg
import VditTensor

/// A picture from a file, turned as the camera held it: anything FFmpeg decodes that has one frame.
public struct StillImage: Sendable {
    public let frame: VideoFrame
    /// What was done to it, in sentences.
    public let notices: [String]

    /// - Throws: `MediaError` for what is missing, no picture, damaged, or has more than one frame.
    public init(_ path: String) throws(MediaError) {
        let reader = try FFmpegReader(path)
        var notices: [String] = []
        guard let first = try reader.next() else {
            throw .malformed(path: path, found: "no picture", expected: "one")
        }
        let orientation = reader.orientation
        if try reader.next() != nil {
            throw .malformed(path: path, found: "a moving picture", expected: "a picture of one frame")
        }
        // What FFmpeg makes of inks has an opaque alpha channel.
        if reader.info.hadAlpha, reader.info.codec != "mjpeg" { notices.append("\(path): transparency is left out") }
        if let orientation, orientation != .upright {
            notices.append("\(path): turned as its orientation tag says")
            frame = orientation.applied(to: first)
        } else {
            frame = first
        }
        self.notices = notices
    }
}

/// How a stored picture is to be shown: where a step right and a step down in it lead.
struct Orientation: Equatable {
    static let upright = Orientation(right: (1, 0), down: (0, 1))

    /// Columns and rows, one of them 1 or −1.
    let right: (columns: Int, rows: Int)
    let down: (columns: Int, rows: Int)

    init(right: (columns: Int, rows: Int), down: (columns: Int, rows: Int)) {
        self.right = right
        self.down = down
    }

    /// Of a display matrix; nil for none, or one that is no quarter turn.
    init?(_ picture: UnsafePointer<AVFrame>) {
        guard let side = av_frame_get_side_data(picture, AV_FRAME_DATA_DISPLAYMATRIX), side.pointee.size >= 36,
            let data = side.pointee.data
        else { return nil }
        let values = (0..<9).map { index in
            Int(UnsafeRawPointer(data).loadUnaligned(fromByteOffset: index * 4, as: Int32.self)) / 65536
        }
        self.init(right: (values[0], values[1]), down: (values[3], values[4]))
        guard abs(right.columns) + abs(right.rows) == 1, abs(down.columns) + abs(down.rows) == 1,
            abs(right.columns) != abs(down.columns)
        else { return nil }
    }

    static func == (a: Orientation, b: Orientation) -> Bool { a.right == b.right && a.down == b.down }

    func applied(to frame: VideoFrame) -> VideoFrame {
        let swaps = right.columns == 0
        let result = VideoFrame(
            height: swaps ? frame.width : frame.height, width: swaps ? frame.height : frame.width, depth: frame.depth)
        // Negative steps start at the far side.
        let left = [right.columns, down.columns].contains(-1) ? result.width - 1 : 0
        let top = [right.rows, down.rows].contains(-1) ? result.height - 1 : 0
        for row in 0..<frame.height {
            for column in 0..<frame.width {
                let y = top + right.rows * column + down.rows * row
                let x = left + right.columns * column + down.columns * row
                result.pixels[y][x].assign(frame.pixels[row][column])
            }
        }
        return result
    }
}
