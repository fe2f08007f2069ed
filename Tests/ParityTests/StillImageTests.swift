import Foundation
import TestSupport
import Testing
import VDiT

/// Pictures that a video can begin with.
struct StillImageTests {
    private func colours(_ frame: VideoFrame, _ row: Int, _ column: Int) -> String {
        let pixel = frame.pixels[row][column].withBytes { Array($0) }
        return pixel[0] > pixel[2] ? "red" : "blue"
    }

    /// Width, height, and the colours of the first and the last pixel.
    @Test(arguments: [
        (1, 32, 16, "red", "blue"), (2, 32, 16, "blue", "red"), (3, 32, 16, "blue", "red"), (6, 16, 32, "red", "blue"),
        (8, 16, 32, "blue", "red"),
    ])
    func isTurnedAsTheCameraHeldIt(
        _ orientation: Int, _ width: Int, _ height: Int, _ first: String, _ last: String
    ) throws {
        let image = try StillImage(Golden.path("pictures/orientation-\(orientation).jpg"))
        #expect((image.frame.width, image.frame.height) == (width, height))
        #expect(colours(image.frame, 0, 0) == first && colours(image.frame, height - 1, width - 1) == last)
        #expect(image.notices.contains { $0.contains("orientation") } == (orientation != 1))
    }

    @Test func transparencyIsLeftOutAndSaidSo() throws {
        let image = try StillImage(Golden.path("pictures/alpha.png"))
        #expect(image.frame.pixels[3][5].withBytes { Array($0) } == [220, 30, 30])
        #expect(image.notices.contains { $0.contains("transparency") })
    }

    @Test func inksAreColours() throws {
        let image = try StillImage(Golden.path("pictures/cmyk.jpg"))
        #expect(image.notices.isEmpty)
        let pixel = image.frame.pixels[8][8].withBytes { Array($0) }
        #expect(pixel[0] > 200 && pixel[1] < 90 && pixel[2] < 90, "\(pixel)")
    }

    @Test func aMovingPictureIsRefused() throws {
        let error = try #require(throws: MediaError.self) { try StillImage(Golden.path("pictures/animated.gif")) }
        #expect("\(error)".contains("moving picture") && error.kind == .badData)
    }

    @Test func resamplingIsPillows() throws {
        let io = try SafetensorsReader(Golden.path("wan-image/resize/io.safetensors"))
        let frame = VideoFrame(pixels: try io.tensor("source").copy())
        let names = io.names.filter { $0.hasPrefix("lanczos.") }
        #expect(names.count == 4)
        for name in names {
            let expected = try io.tensor(name)
            let made = frame.fitted(width: expected.shape[1], height: expected.shape[0], .stretch)
            #expect(made.pixels.withBytes { Array($0) } == expected.withBytes { Array($0) }, "\(name)")
        }
    }
}
