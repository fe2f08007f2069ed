import Foundation
import TestSupport
import Testing
import VDiT

/// Y'CbCr of BT.709, limited range, 8 bits, by the standard's definition.
private func bt709(_ red: Int, _ green: Int, _ blue: Int) -> [Double] {
    let (r, g, b) = (Double(red) / 255, Double(green) / 255, Double(blue) / 255)
    let y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    return [16 + 219 * y, 128 + 224 * (b - y) / 1.8556, 128 + 224 * (r - y) / 1.5748]
}

private let colours = [
    [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [128, 128, 128], [200, 120, 40],
    [17, 93, 201],
]

private func patch(_ colour: [Int], width: Int = 64, height: Int = 64) -> VideoFrame {
    let frame = VideoFrame(height: height, width: width)
    let bytes = frame.pixels.pointer(as: UInt8.self)
    for index in 0..<width * height {
        for channel in 0..<3 { bytes[3 * index + channel] = UInt8(colour[channel]) }
    }
    return frame
}

private func encode(_ frames: [VideoFrame], _ path: String, _ change: (inout VideoOptions) -> Void) throws {
    var options = VideoOptions(frameRate: try FrameRate(16))
    options.existing = .replace
    change(&options)
    var writer = try FFmpegWriter(
        path: path, width: frames[0].width, height: frames[0].height, frameCount: frames.count,
        options: options)
    for frame in frames { try writer.write(frame) }
    try writer.finish()
}

@Suite struct MediaColourTests {
    private let path = NSTemporaryDirectory() + "vdit-colour-\(UUID().uuidString)"

    @Test(arguments: ["y4m", "h264.mp4", "ffv1.mkv"], ["yuv420p", "yuv422p", "yuv444p"])
    func patchesAreStoredAsBT709(kind: String, pixelFormat: String) throws {
        let path = path + "." + kind
        defer { unlink(path) }
        for colour in colours {
            try encode([patch(colour)], path) {
                $0.pixelFormat = pixelFormat
                if kind == "ffv1.mkv" { $0.codec = .ffv1 }
                if kind == "h264.mp4" { $0.crf = 0 }
            }
            let reader = try FFmpegReader(path)
            let planes = try #require(try reader.nextPlanes()).planes
            for (plane, expected) in zip(planes, bt709(colour[0], colour[1], colour[2])) {
                let worst = plane.withBytes { $0.map { abs(Double($0) - expected) }.max() ?? 255 }
                #expect(worst <= 1, "\(colour)")
            }
        }
    }

    @Test(arguments: ["yuv420p", "yuv444p"])
    func patchesComeBackWithinRounding(pixelFormat: String) throws {
        let path = path + ".mp4"
        defer { unlink(path) }
        for colour in colours {
            let frame = patch(colour)
            try encode([frame], path) {
                $0.pixelFormat = pixelFormat
                $0.crf = 0
            }
            let back = try #require(try FFmpegReader(path).next())
            let pair = zip(back.pixels.withBytes { Array($0) }, frame.pixels.withBytes { Array($0) })
            let worst = pair.map { abs(Int($0) - Int($1)) }.max() ?? 255
            #expect(worst <= 3, "\(colour)")
        }
    }

    @Test func chromaIsSitedLeft() throws {
        // A step in colour at column 32: with left siting the sample at luma column 32 is a full new colour
        // and its left neighbour at 30 mixes; centred siting would shift both by half a pixel.
        let frame = VideoFrame(height: 16, width: 64)
        let bytes = frame.pixels.pointer(as: UInt8.self)
        for index in 0..<16 * 64 {
            // A ramp in blue only: chroma at position x must be that of luma column x.
            bytes[3 * index] = 100
            bytes[3 * index + 1] = 100
            bytes[3 * index + 2] = UInt8(index % 64 * 4)
        }
        let path = path + ".y4m"
        defer { unlink(path) }
        try encode([frame], path) { $0.pixelFormat = "yuv420p" }
        let cb = try #require(try FFmpegReader(path).nextPlanes()).planes[1]
        let row = cb[4].withBytes { Array($0) }
        for column in 4..<28 {
            let expected = bt709(100, 100, column * 2 * 4)[1]
            #expect(abs(Double(row[column]) - expected) <= 1, "chroma column \(column)")
        }
    }

    @Test func lossless444KeepsNearlyEveryBit() throws {
        let path = path + ".mkv"
        defer { unlink(path) }
        let frame = VideoFrame(height: 64, width: 64)
        let bytes = frame.pixels.pointer(as: UInt8.self)
        var state: UInt32 = 7
        for index in 0..<frame.pixels.count {
            state = state &* 1_664_525 &+ 1_013_904_223
            bytes[index] = UInt8(state >> 24)
        }
        try encode([frame], path) {
            $0.crf = 0
            $0.pixelFormat = "yuv444p"
        }
        let back = try #require(try FFmpegReader(path).next())
        #expect(try PSNR.compare(back, to: frame).psnr > 50)
        for format in ["rgb24", "bgr0"] {
            try encode([frame], path) {
                $0.crf = 0
                $0.pixelFormat = format
            }
            let exact = try #require(try FFmpegReader(path).next())
            #expect(try PSNR.compare(exact, to: frame).isIdentical)
        }
    }
}
