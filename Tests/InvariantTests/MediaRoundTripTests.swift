import Foundation
import TestSupport
import Testing
import VDiT

/// A directory of its own for each test, removed with its contents.
final class MediaFolder {
    let path: String

    init() {
        path = NSTemporaryDirectory() + "vdit-media-\(UUID().uuidString)"
        try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { path + "/" + name }

    var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: path).sorted()) ?? [] }
}

/// A moving, saturated, partly noisy picture: nothing an encoder gets right by chance.
func syntheticFrame(_ index: Int, width: Int, height: Int, depth: SampleDepth = .eight) -> VideoFrame {
    let frame = VideoFrame(height: height, width: width, depth: depth)
    var state = UInt64(index &* 7919 &+ 12345)
    for row in 0..<height {
        for column in 0..<width {
            for channel in 0..<3 {
                state = state &* 6364136223846793005 &+ 1442695040888963407
                let noise = Int(state >> 60)
                let wave = (column * (channel + 1) * 3 + row * 2 + index * 11 + noise) % 256
                let position = (row * width + column) * 3 + channel
                switch depth {
                case .eight: frame.pixels.pointer(as: UInt8.self)[position] = UInt8(wave)
                case .sixteen:
                    frame.pixels.pointer(as: UInt16.self)[position] = UInt16(wave * 256 + Int(state >> 56) % 256)
                }
            }
        }
    }
    return frame
}

/// A clip of smooth colours, which lossy codecs can represent well.
func smoothFrame(_ index: Int, width: Int, height: Int) -> VideoFrame {
    let frame = VideoFrame(height: height, width: width)
    let bytes = frame.pixels.pointer(as: UInt8.self)
    for row in 0..<height {
        for column in 0..<width {
            let position = (row * width + column) * 3
            bytes[position] = UInt8(60 + column * 120 / width + index)
            bytes[position + 1] = UInt8(70 + row * 100 / height)
            bytes[position + 2] = UInt8(160 - column * 60 / width + index)
        }
    }
    return frame
}

func bytes(of frame: VideoFrame) -> [UInt8] { frame.pixels.withBytes { Array($0) } }

func write(_ frames: [VideoFrame], to path: String, _ options: VideoOptions) throws {
    var writer = try FFmpegWriter(
        path: path, width: frames[0].width, height: frames[0].height, frameCount: frames.count,
        options: options)
    try frames.forEach { try writer.write($0) }
    try writer.finish()
}

func readAll(_ path: String, depth: SampleDepth = .eight) throws -> (VideoInfo, [VideoFrame]) {
    let reader = try FFmpegReader(path, depth: depth)
    var frames: [VideoFrame] = []
    while let frame = try reader.next() { frames.append(frame) }
    return (reader.info, frames)
}

func defaultOptions() throws -> VideoOptions { VideoOptions(frameRate: try FrameRate(16)) }

@Suite struct MediaRoundTripTests {
    @Test(arguments: [(64, 48), (37, 53), (16, 16), (208, 120)])
    func ffv1ReturnsEveryBit(width: Int, height: Int) throws {
        let folder = MediaFolder()
        let frames = (0..<5).map { syntheticFrame($0, width: width, height: height) }
        var options = try defaultOptions()
        options.codec = .ffv1
        try write(frames, to: folder.file("clip.mkv"), options)
        let (info, back) = try readAll(folder.file("clip.mkv"))
        #expect(info.codec == "ffv1" && info.pixelFormat == "bgr0")
        #expect(back.map(bytes(of:)) == frames.map(bytes(of:)))
        #expect(folder.names == ["clip.mkv"])
    }

    @Test(arguments: [SampleDepth.eight, .sixteen])
    func pngSequenceReturnsEveryBit(depth: SampleDepth) throws {
        let folder = MediaFolder()
        let frames = (0..<4).map { syntheticFrame($0, width: 33, height: 21, depth: depth) }
        var options = try defaultOptions()
        options.pngDepth = depth
        options.metadata = ["title": "a title", "comment": "größer"]
        try write(frames, to: folder.file("new/%03d.png"), options)
        for path in [folder.file("new/%03d.png"), folder.file("new")] {
            let (info, back) = try readAll(path, depth: depth)
            #expect(back.map(bytes(of:)) == frames.map(bytes(of:)))
            #expect(info.metadata == options.metadata)
        }
    }

    @Test(arguments: [
        ("a.mp4", VideoCodec.h264), ("a.mov", .h264), ("a.mkv", .h264), ("a.mp4", .hevc), ("a.mp4", .av1),
        ("a.mkv", .vp9), ("a.webm", .vp9), ("a.webm", .av1), ("a.mov", .prores), ("a.mkv", .ffv1),
    ])
    func everyContainerKeepsCountRateColourAndTags(name: String, codec: VideoCodec) throws {
        let folder = MediaFolder()
        let depth: SampleDepth = codec == .prores ? .sixteen : .eight
        let frames = (0..<9).map { syntheticFrame($0, width: 96, height: 64, depth: depth) }
        var options = VideoOptions(frameRate: try FrameRate(30000, 1001))
        options.codec = codec
        options.metadata = ["title": "a title", "comment": "prompt, seed 42", "vdit_seed": "42"]
        try write(frames, to: folder.file(name), options)
        let (info, back) = try readAll(folder.file(name))
        #expect(back.count == 9)
        #expect(info.width == 96 && info.height == 64)
        #expect(info.frameRate == options.frameRate)
        #expect(info.matrix == (codec == .ffv1 ? "gbr" : "bt709"))
        #expect(info.range == (codec == .ffv1 ? "pc" : "tv"))
        #expect(info.primaries == "bt709")
        #expect(info.transfer == (codec == .ffv1 ? "iec61966-2-1" : "bt709"))
        let tags = Dictionary(uniqueKeysWithValues: info.metadata.map { ($0.key.lowercased(), $0.value) })
        for (key, value) in options.metadata { #expect(tags[key] == value) }
        #expect(folder.names == [name])
    }

    @Test func gifKeepsCountAndNearlyTheColours() throws {
        let folder = MediaFolder()
        let frames = (0..<6).map { smoothFrame($0, width: 64, height: 48) }
        try write(frames, to: folder.file("a.gif"), VideoOptions(frameRate: try FrameRate(10)))
        let (info, back) = try readAll(folder.file("a.gif"))
        #expect(back.count == 6 && info.codec == "gif" && info.frameRate?.description == "10")
    }

    @Test func y4mKeepsCountAndRate() throws {
        let folder = MediaFolder()
        let frames = (0..<6).map { smoothFrame($0, width: 63, height: 47) }
        try write(frames, to: folder.file("a.y4m"), VideoOptions(frameRate: try FrameRate(parsing: "23.976")))
        let (info, back) = try readAll(folder.file("a.y4m"))
        #expect(back.count == 6 && info.pixelFormat == "yuv444p")
        #expect(info.frameRate?.description == "2997/125")
    }
}
