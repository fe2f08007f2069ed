import VditMedia
import VditTensor

/// Small pictures for pages and side-by-side videos. All frames are 8-bit R'G'B'.
enum Pictures {
    /// The mean of `factor × factor` pixels each; what does not fill a block at the right or bottom is cut.
    static func reduced(_ frame: VideoFrame, by factor: Int) -> VideoFrame {
        if factor <= 1 { return frame }
        let (height, width) = (max(1, frame.height / factor), max(1, frame.width / factor))
        let result = VideoFrame(height: height, width: width)
        let (source, target) = (frame.pixels.pointer(as: UInt8.self), result.pixels.pointer(as: UInt8.self))
        withExtendedLifetime((frame.pixels, result.pixels)) {
            for row in 0..<height {
                for column in 0..<width {
                    for channel in 0..<3 {
                        var sum = 0
                        for y in 0..<min(factor, frame.height) {
                            let start = ((row * factor + y) * frame.width + column * factor) * 3 + channel
                            for x in 0..<min(factor, frame.width) { sum += Int(source[start + 3 * x]) }
                        }
                        let count = min(factor, frame.height) * min(factor, frame.width)
                        target[(row * width + column) * 3 + channel] = UInt8((sum + count / 2) / count)
                    }
                }
            }
        }
        return result
    }

    /// The whole number to reduce by so that a frame is at most `width` wide.
    static func factor(_ frame: VideoFrame, toFit width: Int) -> Int {
        max(1, (frame.width + width - 1) / width)
    }

    /// Copies `picture` into `canvas`; what hangs over is cut.
    static func paste(_ picture: VideoFrame, into canvas: VideoFrame, left: Int, top: Int) {
        let columns = min(picture.width, canvas.width - left)
        if columns <= 0 { return }
        for row in 0..<max(0, min(picture.height, canvas.height - top)) {
            let from = picture.pixels[row].pointer(as: UInt8.self)
            let to = canvas.pixels[top + row].pointer(as: UInt8.self)
            to.advanced(by: 3 * left).update(from: from, count: 3 * columns)
        }
    }

    /// Frames in one row, `gap` pixels apart on a dark ground.
    static func strip(_ frames: [VideoFrame], gap: Int = 4) -> VideoFrame {
        let width = frames.reduce(gap * (frames.count - 1)) { $0 + $1.width }
        let canvas = VideoFrame(height: frames.map(\.height).max() ?? 1, width: max(1, width))
        canvas.pixels.fill(byte: 24)
        var left = 0
        for frame in frames {
            paste(frame, into: canvas, left: left, top: 0)
            left += frame.width + gap
        }
        return canvas
    }

    /// Differences at or above this are drawn in the brightest colour.
    static let heatCeiling = 32

    /// How much each pixel differs: the mean absolute difference of the three channels, as a colour of `heat`.
    static func difference(_ frame: VideoFrame, _ reference: VideoFrame) -> VideoFrame {
        let result = VideoFrame(height: frame.height, width: frame.width)
        let (a, b) = (frame.pixels.pointer(as: UInt8.self), reference.pixels.pointer(as: UInt8.self))
        let target = result.pixels.pointer(as: UInt8.self)
        withExtendedLifetime((frame.pixels, reference.pixels, result.pixels)) {
            for pixel in 0..<frame.height * frame.width {
                var sum = 0
                for channel in 0..<3 { sum += abs(Int(a[3 * pixel + channel]) - Int(b[3 * pixel + channel])) }
                let colour = heat[min(255, sum * 255 / (3 * heatCeiling))]
                target[3 * pixel] = colour.0
                target[3 * pixel + 1] = colour.1
                target[3 * pixel + 2] = colour.2
            }
        }
        return result
    }

    /// Stops of the heat scale, black to pale yellow, growing in lightness.
    static let heatStops: [(UInt8, UInt8, UInt8)] = [
        (0, 0, 4), (40, 11, 84), (101, 21, 110), (159, 42, 99), (212, 72, 66), (245, 125, 21), (250, 193, 39),
        (252, 255, 164),
    ]

    private static let heat: [(UInt8, UInt8, UInt8)] = (0..<256).map { level in
        let position = Double(level) / 255 * Double(heatStops.count - 1)
        let below = min(Int(position), heatStops.count - 2)
        let part = position - Double(below)
        func mix(_ a: UInt8, _ b: UInt8) -> UInt8 { UInt8(Double(a) * (1 - part) + Double(b) * part + 0.5) }
        let (low, high) = (heatStops[below], heatStops[below + 1])
        return (mix(low.0, high.0), mix(low.1, high.1), mix(low.2, high.2))
    }

    // MARK: Words in pictures

    /// Writes white words on a dark ground, `scale` pixels a dot; characters we have no shape for are blanks.
    static func label(_ text: String, scale: Int, width: Int) -> VideoFrame {
        let canvas = VideoFrame(height: labelHeight(scale), width: width)
        canvas.pixels.fill(byte: 24)
        let target = canvas.pixels.pointer(as: UInt8.self)
        withExtendedLifetime(canvas.pixels) {
            for (index, character) in text.lowercased().enumerated() {
                guard let rows = glyphs[character] else { continue }
                for y in 0..<7 * scale {
                    for x in 0..<5 * scale where rows[y / scale] >> UInt8(4 - x / scale) & 1 == 1 {
                        let column = 2 * scale + index * 6 * scale + x
                        if column >= width { continue }
                        let pixel = 3 * ((y + 2 * scale) * width + column)
                        for channel in 0..<3 { target[pixel + channel] = 240 }
                    }
                }
            }
        }
        return canvas
    }

    static func labelHeight(_ scale: Int) -> Int { 11 * scale }

    /// Seven rows of five dots, the leftmost in bit 4.
    private static let glyphs: [Character: [UInt8]] = {
        let shapes: [(Character, UInt64)] = [
            ("a", 0x00000E010F110F), ("b", 0x1010161911111E), ("c", 0x00000E1010110E), ("d", 0x01010D1311110F),
            ("e", 0x00000E111F100E), ("f", 0x0609081C080808), ("g", 0x000F11110F010E), ("h", 0x10101619111111),
            ("i", 0x04000C0404040E), ("j", 0x0200060202120C), ("k", 0x10101214181412), ("l", 0x0C04040404040E),
            ("m", 0x00001A15151111), ("n", 0x00001619111111), ("o", 0x00000E1111110E), ("p", 0x00001E111E1010),
            ("q", 0x00000D130F0101), ("r", 0x00001619101010), ("s", 0x00000E100E011E), ("t", 0x08081C08080906),
            ("u", 0x0000111111130D), ("v", 0x00001111110A04), ("w", 0x0000111115150A), ("x", 0x0000110A040A11),
            ("y", 0x000011110F010E), ("z", 0x00001F0204081F), ("0", 0x0E11131519110E), ("1", 0x040C040404040E),
            ("2", 0x0E11010204081F), ("3", 0x1F02040201110E), ("4", 0x02060A121F0202), ("5", 0x1F101E0101110E),
            ("6", 0x0608101E11110E), ("7", 0x1F010204080808), ("8", 0x0E11110E11110E), ("9", 0x0E11110F01020C),
            (".", 0x00000000000C0C), ("-", 0x0000001F000000), ("_", 0x0000000000001F), ("=", 0x00001F001F0000),
            ("%", 0x18190204081303), (",", 0x000000000C0408), (":", 0x000C0C000C0C00), ("+", 0x0004041F040400),
            ("/", 0x00010204081000), ("(", 0x02040808080402), (")", 0x08040202020408),
        ]
        return Dictionary(
            uniqueKeysWithValues: shapes.map { character, bits in
                (character, (0..<7).map { UInt8(truncatingIfNeeded: bits >> UInt64(8 * (6 - $0))) })
            })
    }()
}
