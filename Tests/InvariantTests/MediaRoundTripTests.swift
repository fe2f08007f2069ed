import Foundation
import TestSupport
import Testing
import VDiT

@Suite struct MediaRoundTripTests {
    @Test(arguments: [(64, 48), (37, 53), (16, 16), (208, 120)])
    func ffv1ReturnsEveryBit(width: Int, height: Int) throws {
        let folder = try TemporaryDirectory()
        let frames = (0..<5).map { Clips.busy($0, width: width, height: height) }
        var options = try Clips.options()
        options.codec = .ffv1
        try Clips.write(frames, to: folder.path("clip.mkv"), options)
        let (info, back) = try Clips.read(folder.path("clip.mkv"))
        #expect(info.codec == "ffv1" && info.pixelFormat == "bgr0")
        #expect(back.map(\.bytes) == frames.map(\.bytes))
        #expect(folder.contents == ["clip.mkv"])
    }

    @Test(arguments: [SampleDepth.eight, .sixteen])
    func pngSequenceReturnsEveryBit(depth: SampleDepth) throws {
        let folder = try TemporaryDirectory()
        let frames = (0..<4).map { Clips.busy($0, width: 33, height: 21, depth: depth) }
        var options = try Clips.options()
        options.pngDepth = depth
        options.metadata = ["title": "a title", "comment": "größer"]
        try Clips.write(frames, to: folder.path("new/%03d.png"), options)
        for path in [folder.path("new/%03d.png"), folder.path("new")] {
            let (info, back) = try Clips.read(path, depth: depth)
            #expect(back.map(\.bytes) == frames.map(\.bytes))
            #expect(info.metadata == options.metadata)
        }
    }

    @Test(arguments: [
        ("a.mp4", VideoCodec.h264), ("a.mov", .h264), ("a.mkv", .h264), ("a.mp4", .hevc), ("a.mp4", .av1),
        ("a.mkv", .vp9), ("a.webm", .vp9), ("a.webm", .av1), ("a.mov", .prores), ("a.mkv", .ffv1),
    ])
    func everyContainerKeepsCountRateColourAndTags(name: String, codec: VideoCodec) throws {
        let folder = try TemporaryDirectory()
        let depth: SampleDepth = codec == .prores ? .sixteen : .eight
        let frames = (0..<9).map { Clips.busy($0, width: 96, height: 64, depth: depth) }
        var options = VideoOptions(frameRate: try FrameRate(30000, 1001))
        options.codec = codec
        options.metadata = ["title": "a title", "comment": "prompt, seed 42", "vdit_seed": "42"]
        try Clips.write(frames, to: folder.path(name), options)
        let (info, back) = try Clips.read(folder.path(name))
        #expect(back.count == 9)
        #expect(info.width == 96 && info.height == 64)
        #expect(info.frameRate == options.frameRate)
        #expect(info.matrix == (codec == .ffv1 ? "gbr" : "bt709"))
        #expect(info.range == (codec == .ffv1 ? "pc" : "tv"))
        #expect(info.primaries == "bt709")
        #expect(info.transfer == (codec == .ffv1 ? "iec61966-2-1" : "bt709"))
        let tags = Dictionary(uniqueKeysWithValues: info.metadata.map { ($0.key.lowercased(), $0.value) })
        for (key, value) in options.metadata { #expect(tags[key] == value) }
        #expect(folder.contents == [name])
    }

    @Test func gifKeepsCountAndNearlyTheColours() throws {
        let folder = try TemporaryDirectory()
        let frames = (0..<6).map { Clips.smooth($0, width: 64, height: 48) }
        try Clips.write(frames, to: folder.path("a.gif"), VideoOptions(frameRate: try FrameRate(10)))
        let (info, back) = try Clips.read(folder.path("a.gif"))
        #expect(back.count == 6 && info.codec == "gif" && info.frameRate?.description == "10")
        for (frame, original) in zip(back, frames) {
            #expect(try PSNR.compare(frame, to: original).psnr > 30)
        }
    }

    @Test func y4mKeepsCountAndRate() throws {
        let folder = try TemporaryDirectory()
        let frames = (0..<6).map { Clips.smooth($0, width: 63, height: 47) }
        try Clips.write(frames, to: folder.path("a.y4m"), VideoOptions(frameRate: try FrameRate(parsing: "23.976")))
        let (info, back) = try Clips.read(folder.path("a.y4m"))
        #expect(back.count == 6 && info.pixelFormat == "yuv444p")
        #expect(info.frameRate?.description == "2997/125")
    }
}
