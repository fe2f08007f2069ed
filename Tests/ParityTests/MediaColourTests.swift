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

@Suite struct MediaColourTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private func encode(
        _ frame: VideoFrame, _ path: String, _ change: (inout VideoOptions) -> Void
    ) throws {
        var options = try Clips.options(change)
        options.existing = .replace
        try Clips.write([frame], to: path, options)
    }

    @Test(arguments: ["y4m", "h264.mp4", "ffv1.mkv"], ["yuv420p", "yuv422p", "yuv444p"])
    func patchesAreStoredAsBT709(kind: String, pixelFormat: String) throws {
        let path = folder.path("a." + kind)
        for colour in colours {
            try encode(Clips.patch(colour, width: 64, height: 64), path) {
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
        let path = folder.path("a.mp4")
        for colour in colours {
            let frame = Clips.patch(colour, width: 64, height: 64)
            try encode(frame, path) {
                $0.pixelFormat = pixelFormat
                $0.crf = 0
            }
            let back = try #require(try FFmpegReader(path).next())
            let pair = zip(back.bytes, frame.bytes)
            let worst = pair.map { abs(Int($0) - Int($1)) }.max() ?? 255
            #expect(worst <= 3, "\(colour)")
        }
    }

    @Test func chromaIsSitedLeft() throws {
        // A ramp in blue only: the chroma sample at an even luma column must be that column's own. Centred
        // siting would give the value half a column further.
        let frame = Clips.frame(64, 16, .eight) { _, column, channel in channel == 2 ? column * 4 : 100 }
        let path = folder.path("a.y4m")
        try encode(frame, path) { $0.pixelFormat = "yuv420p" }
        let cb = try #require(try FFmpegReader(path).nextPlanes()).planes[1]
        let row = cb[4].withBytes { Array($0) }
        for column in 4..<28 {
            let expected = bt709(100, 100, column * 2 * 4)[1]
            #expect(abs(Double(row[column]) - expected) <= 1, "chroma column \(column)")
        }
    }

    @Test func lossless444KeepsNearlyEveryBit() throws {
        let path = folder.path("a.mkv")
        let frame = Clips.noise(7, width: 64, height: 64)
        try encode(frame, path) {
            $0.crf = 0
            $0.pixelFormat = "yuv444p"
        }
        let back = try #require(try FFmpegReader(path).next())
        #expect(try PSNR.compare(back, to: frame).psnr > 50)
        for format in ["rgb24", "bgr0"] {
            try encode(frame, path) {
                $0.crf = 0
                $0.pixelFormat = format
            }
            let exact = try #require(try FFmpegReader(path).next())
            #expect(try PSNR.compare(exact, to: frame).isIdentical)
        }
    }
}
