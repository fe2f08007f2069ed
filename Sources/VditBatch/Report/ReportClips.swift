import Foundation
import VditFiles
import VditMedia
import VditPipeline
import VditTensor

/// The pictures and the side-by-side video of one prompt and seed, made from its lossless clips.
struct ReportClip {
    /// PNG files of one variant, relative to the report's folder.
    struct Strip {
        let frames: String
        /// Nil for the dense render.
        let difference: String?
    }

    let strips: [Strip]
    /// Frame numbers shown in the strips.
    let shown: [Int]
    let video: String
    let videoSize: (width: Int, height: Int)

    private static let tiles = 4
    private static let tileWidth = 240
    private static let widestVideo = 1920

    /// Reads all clips of the prompt at once, frame by frame, and writes what the page shows.
    init(
        _ clip: ComparisonResults.Clip, folder: String, frameRate: FrameRate, threads: Int
    ) throws {
        let readers = try clip.rows.map {
            try ComparisonClip("\(folder)/\($0.clip)").frames(depth: .eight)
        }
        let count = clip.rows.dropFirst().compactMap(\.quality?.frames).min() ?? 1
        let chosen = Set((0..<Self.tiles).map { $0 * max(0, count - 1) / (Self.tiles - 1) }).sorted()
        var frames = clip.rows.map { _ in [VideoFrame]() }
        var differences = frames
        video = "\(clip.name).mp4"
        let (first, rest) = (readers[0], readers.dropFirst())
        guard var reference = try first.next() else {
            throw BatchError.invalid(
                clip.rows[0].clip, found: "no frames", expected: "at least one", kind: .badData)
        }
        let grid = Grid(labels: clip.rows.map(\.variant.label), tile: reference)
        videoSize = (grid.width, grid.height)
        var options = VideoOptions(frameRate: frameRate)
        options.existing = .replace
        options.threads = threads
        var writer = try FFmpegWriter(
            path: "\(folder)/\(video)", width: grid.width, height: grid.height, frameCount: count,
            options: options)
        for index in 0..<count {
            let others = try rest.map { try $0.next() ?? reference }
            let all = [reference] + others
            try writer.write(grid.picture(all))
            if chosen.contains(index) {
                let factor = Pictures.factor(reference, toFit: Self.tileWidth)
                for (variant, frame) in all.enumerated() {
                    frames[variant].append(Pictures.reduced(frame, by: factor))
                    differences[variant].append(
                        Pictures.reduced(Pictures.difference(frame, reference), by: factor))
                }
            }
            if index + 1 < count, let next = try first.next() { reference = next }
        }
        try writer.finish()
        shown = chosen
        var strips: [Strip] = []
        for (index, row) in clip.rows.enumerated() {
            let stem = "\(ReportFolder.pictures)/\(FilePath.stem(of: row.clip))"
            let path = "\(stem).png"
            try PNG.write(Pictures.strip(frames[index]).pixels, to: "\(folder)/\(path)", existing: .replace)
            var difference: String?
            if !row.variant.isDense {
                let path = "\(stem)-difference.png"
                try PNG.write(
                    Pictures.strip(differences[index]).pixels, to: "\(folder)/\(path)", existing: .replace)
                difference = path
            }
            strips.append(Strip(frames: path, difference: difference))
        }
        self.strips = strips
        try PNG.write(
            Self.sheet(clip, frames).pixels, to: "\(folder)/\(ReportFolder.pictures)/\(clip.name).png",
            existing: .replace)
    }

    /// All strips of the prompt below each other, each under its name: a contact sheet of the comparison.
    private static func sheet(_ clip: ComparisonResults.Clip, _ frames: [[VideoFrame]]) -> VideoFrame {
        let strips = frames.map { Pictures.strip($0) }
        let scale = 2
        let rows = strips.map { $0.height + Pictures.labelHeight(scale) }
        let canvas = VideoFrame(height: rows.reduce(0, +), width: strips[0].width)
        var top = 0
        for (index, strip) in strips.enumerated() {
            let label = Pictures.label(clip.rows[index].variant.label, scale: scale, width: strip.width)
            Pictures.paste(label, into: canvas, left: 0, top: top)
            Pictures.paste(strip, into: canvas, left: 0, top: top + label.height)
            top += rows[index]
        }
        return canvas
    }

    /// Where the variants' pictures lie in the side-by-side video.
    private struct Grid {
        let width: Int
        let height: Int
        private let columns: Int
        private let factor: Int
        private let labels: [VideoFrame]
        private let cell: (width: Int, height: Int)

        init(labels texts: [String], tile: VideoFrame) {
            let gap = 4
            // Near the shape of a screen, with few tiles empty.
            func cost(_ columns: Int) -> Double {
                let rows = (texts.count + columns - 1) / columns
                let shape = Double(columns * tile.width) / Double(rows * tile.height)
                return abs(log(shape / 1.6)) + 0.2 * Double(columns * rows - texts.count)
            }
            columns = (1...texts.count).min { cost($0) < cost($1) } ?? 1
            let rows = (texts.count + columns - 1) / columns
            factor = max(1, (columns * tile.width + ReportClip.widestVideo - 1) / ReportClip.widestVideo)
            let (tileWidth, tileHeight) = (max(1, tile.width / factor), max(1, tile.height / factor))
            let longest = texts.map(\.count).max() ?? 1
            let scale = max(1, min(2, tileWidth / (6 * longest + 4)))
            labels = texts.map { Pictures.label($0, scale: scale, width: tileWidth) }
            cell = (tileWidth + gap, tileHeight + Pictures.labelHeight(scale) + gap)
            // Even sides, for 4:2:0.
            width = (columns * cell.width - gap + 1) / 2 * 2
            height = (rows * cell.height - gap + 1) / 2 * 2
        }

        func picture(_ frames: [VideoFrame]) -> VideoFrame {
            let canvas = VideoFrame(height: height, width: width)
            canvas.pixels.fill(byte: 24)
            for (index, frame) in frames.enumerated() {
                let (left, top) = (index % columns * cell.width, index / columns * cell.height)
                Pictures.paste(labels[index], into: canvas, left: left, top: top)
                Pictures.paste(
                    Pictures.reduced(frame, by: factor), into: canvas, left: left,
                    top: top + labels[index].height)
            }
            return canvas
        }
    }
}
