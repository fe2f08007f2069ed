import Foundation
import TestSupport
import Testing
import VDiT

@Suite struct MediaContactSheetTests {
    /// The tile at (row, column) of a sheet of unscaled frames with gaps of 4, the caption's line within them.
    private func tile(
        _ sheet: VideoFrame, _ row: Int, _ column: Int, width: Int, height: Int, caption: Int = 13
    ) -> [UInt8] {
        let bytes = sheet.bytes
        return (0..<height).flatMap { line -> ArraySlice<UInt8> in
            let start = ((4 + row * (height + 4 + caption) + line) * sheet.width + 4 + column * (width + 4)) * 3
            return bytes[start..<start + 3 * width]
        }
    }

    @Test func nineTilesShowEvenlySpacedFramesWithTheFirstAndTheLast() throws {
        let folder = try TemporaryDirectory()
        let frames = (0..<81).map { Clips.busy($0, width: 40, height: 24) }
        var options = try Clips.options()
        options.metadata = ["comment": "nine"]
        try Clips.write(frames, to: folder.path("sheet.png"), options)
        let picture = try PNG.read(folder.path("sheet.png"))
        #expect(picture.text == ["comment": "nine"])
        let sheet = picture.frame
        #expect(sheet.width == 3 * 44 + 4 && sheet.height == 3 * (28 + 13) + 4)
        for index in 0..<9 {
            let shown = tile(sheet, index / 3, index % 3, width: 40, height: 24)
            #expect(shown == frames[index * 10].bytes, "tile \(index)")
        }
    }

    @Test(arguments: [1, 2, 3, 5, 9, 12, 17])
    func everyNumberOfFramesAndTilesFits(count: Int) throws {
        for tiles in [1, 2, 9, 12] {
            var sheet = try ContactSheet(width: 13, height: 7, frameCount: count, tiles: tiles, frameRate: .sixteen)
            for index in 0..<count { try sheet.add(Clips.busy(index, width: 13, height: 7)) }
            let first = tile(sheet.picture, 0, 0, width: 13, height: 7)
            #expect(first == Clips.busy(0, width: 13, height: 7).bytes)
        }
    }

    @Test func wideFramesAreScaledDown() throws {
        var sheet = try ContactSheet(width: 960, height: 540, frameCount: 2, tiles: 2, frameRate: .sixteen)
        for _ in 0..<2 { try sheet.add(Clips.patch([200, 200, 200], width: 960, height: 540)) }
        let shown = tile(sheet.picture, 0, 0, width: 480, height: 270)
        #expect(shown.allSatisfy { $0 == 200 })
    }

    @Test func captionsSayFrameAndSecondsInTheLongestFormThatFits() throws {
        /// Lit pixels in the strip below a lone frame.
        func caption(width: Int, rate: FrameRate) throws -> [[Int]] {
            // Square tiles stand side by side.
            var sheet = try ContactSheet(width: width, height: width, frameCount: 2, tiles: 2, frameRate: rate)
            for _ in 0..<2 { try sheet.add(Clips.patch([0, 0, 0], width: width, height: width)) }
            let bytes = sheet.picture.bytes
            return (0..<2).map { tile in
                let left = 4 + tile * (width + 4)
                return (0..<13 * width).filter {
                    bytes[((4 + width + $0 / width) * sheet.picture.width + left + $0 % width) * 3] == 200
                }
            }
        }
        /// The same of a text.
        func lit(_ text: String, width: Int) -> [Int] {
            let picture = Tensor(.u8, [13, width, 3])
            Lettering.draw(text, on: picture, left: 0, top: 1, shade: 200)
            let bytes = picture.withBytes { Array($0) }
            return (0..<13 * width).filter { bytes[3 * $0] == 200 }
        }
        #expect(
            try caption(width: 120, rate: .sixteen)
                == [lit("frame 0, 0.00 s", width: 120), lit("frame 1, 0.06 s", width: 120)])
        #expect(try caption(width: 70, rate: FrameRate(3, 2))[1] == lit("1, 0.67 s", width: 70))
        #expect(try caption(width: 20, rate: .sixteen)[1] == lit("1", width: 20))
        let narrow = try ContactSheet(width: 6, height: 6, frameCount: 2, tiles: 2, frameRate: .sixteen)
        #expect(narrow.picture.height == 6 + 2 * 4)
    }

    @Test func aStillIsTheFirstFrame() throws {
        let folder = try TemporaryDirectory()
        let frames = (0..<3).map { Clips.busy($0, width: 40, height: 24, depth: .sixteen) }
        var options = try Clips.options()
        options.still = .firstFrame
        options.pngDepth = .sixteen
        try Clips.write(frames, to: folder.path("first.png"), options)
        #expect(try PNG.read(folder.path("first.png")).frame.bytes == frames[0].bytes)
    }
}
