import Foundation
import TestSupport
import Testing
import VDiT

/// The error of validating an output, and that opening it fails the same way and leaves nothing.
private func refusal(
    _ folder: TemporaryDirectory, _ path: String, width: Int = 64, height: Int = 48, frames: Int = 9,
    _ options: VideoOptions
) -> MediaError? {
    let before = folder.contents
    var failure: MediaError?
    do throws(MediaError) {
        try FFmpegWriter.validate(
            path: path, width: width, height: height, frameCount: frames, options: options)
    } catch {
        failure = error
    }
    do throws(MediaError) {
        let writer = try FFmpegWriter(
            path: path, width: width, height: height, frameCount: frames, options: options)
        writer.cancel()
        Issue.record("the writer opened \(path)")
    } catch {
        #expect(error == failure)
    }
    #expect(folder.contents == before)
    return failure
}

private func says(_ error: MediaError?, _ kind: FailureKind, _ words: [String]) -> Bool {
    guard let error else { return false }
    let text = error.description
    return error.kind == kind && !text.contains("\n") && words.allSatisfy(text.contains)
}

@Suite struct MediaOutputTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    @Test(arguments: ["a.xyz", "a", "a.", ".mp4x", "a.mp4.txt", "%05d.jpg"])
    func anUnknownEndingNamesTheKnownOnes(name: String) throws {
        #expect(says(refusal(folder, folder.path(name), try Clips.options()), .usage, [name, ".mp4", ".webm"]))
    }

    @Test(arguments: [
        ("a.mov", VideoCodec.vp9, ".webm"), ("a.webm", .h264, "vp9, av1"), ("a.mp4", .ffv1, ".mkv"),
        ("a.gif", .h264, ".mp4"), ("a.y4m", .ffv1, ".mkv"), ("%03d.png", .h264, "no codec option"),
        ("a.mp4", .prores, ".mov"),
    ])
    func aCodecTheContainerCannotHoldNamesWhereItGoes(name: String, codec: VideoCodec, hint: String) throws {
        let error = refusal(folder, folder.path(name), try Clips.options { $0.codec = codec })
        #expect(says(error, .usage, [codec.rawValue, hint]))
    }

    @Test(arguments: [
        (VideoCodec.h264, 52), (.h264, -1), (.hevc, 52), (.av1, 64), (.vp9, 64), (.vp9, -1), (.ffv1, 1),
        (.prores, 9),
    ])
    func aCRFOutOfRangeNamesTheRange(codec: VideoCodec, crf: Int) throws {
        let wanted = try Clips.options { ($0.codec, $0.crf) = (codec, crf) }
        #expect(says(refusal(folder, folder.path("a.mkv"), wanted), .usage, ["crf", "\(crf)", codec.rawValue]))
    }

    @Test(arguments: [
        (VideoCodec.h264, "yuv9p", "yuv420p"), (.h264, "yuvj420p", "yuv420p"), (.vp9, "bgr0", "gbrp"),
        (.prores, "yuv420p", "yuv422p10le"), (.ffv1, "rgb24", "bgr0"), (.h264, "", "yuv444p"),
        (.hevc, "yuva420p", "yuv420p10le"),
    ])
    func aPixelFormatTheEncoderLacksNamesThoseItHas(codec: VideoCodec, format: String, hint: String) throws {
        let wanted = try Clips.options { ($0.codec, $0.pixelFormat) = (codec, format) }
        #expect(says(refusal(folder, folder.path("a.mkv"), wanted), .usage, ["\"\(format)\"", hint]))
    }

    @Test(arguments: [VideoCodec.h264, .hevc])
    func oddSizesWith420NameTheWayOut(codec: VideoCodec) throws {
        let wanted = try Clips.options { $0.codec = codec }
        let error = refusal(folder, folder.path("a.mp4"), width: 417, height: 241, wanted)
        #expect(says(error, .usage, ["417x241", "418x242", "yuv444p"]))
        let full = try Clips.options { ($0.codec, $0.pixelFormat) = (codec, "yuv444p") }
        try FFmpegWriter.validate(
            path: folder.path("a.mp4"), width: 417, height: 241, frameCount: 1, options: full)
        #expect(folder.contents == [])
    }

    @Test(arguments: [(0, 48), (64, -1), (1_000_000_000, 48), (64, .max), (Int.min, 16)])
    func impossibleSizesAreRefused(width: Int, height: Int) throws {
        let error = refusal(folder, folder.path("a.mp4"), width: width, height: height, try Clips.options())
        #expect(says(error, .usage, ["16384"]))
    }

    @Test(arguments: [0, -1, .max])
    func impossibleFrameCountsAreRefused(frames: Int) throws {
        #expect(says(refusal(folder, folder.path("a.mp4"), frames: frames, try Clips.options()), .usage, ["frames"]))
    }

    @Test func settingsAnOutputDoesNotHaveAreErrors() throws {
        for name in ["a.png", "%d.png", "a.gif"] {
            for wanted in [
                try Clips.options { $0.crf = 18 }, try Clips.options { $0.preset = "slow" },
                try Clips.options { $0.pixelFormat = "yuv420p" },
            ] {
                #expect(refusal(folder, folder.path(name), wanted)?.kind == .usage)
            }
        }
        let preset = try Clips.options { $0.preset = "quick" }
        #expect(says(refusal(folder, folder.path("a.mp4"), preset), .usage, ["quick", "ultrafast"]))
        let fast = VideoOptions(frameRate: try FrameRate(60))
        #expect(says(refusal(folder, folder.path("a.gif"), fast), .usage, ["60", "50"]))
        let key = try Clips.options { $0.metadata = ["a key": "x"] }
        #expect(says(refusal(folder, folder.path("a.mp4"), key), .usage, ["a key"]))
        let value = try Clips.options { $0.metadata = ["a": "x\0y"] }
        #expect(says(refusal(folder, folder.path("a.mp4"), value), .usage, ["NUL"]))
        let threads = try Clips.options { $0.threads = 0 }
        #expect(says(refusal(folder, folder.path("a.mp4"), threads), .usage, ["threads"]))
    }

    @Test(arguments: ["a.mp4", "a.png", "a.gif"])
    func unusablePlacesAreRefused(name: String) throws {
        let missing = refusal(folder, folder.path("missing/" + name), try Clips.options())
        #expect(says(missing, .cannotCreate, ["missing", "does not exist"]))
        try folder.write("x", "plain")
        #expect(refusal(folder, folder.path("plain/" + name), try Clips.options())?.kind == .cannotCreate)
        try FileManager.default.createDirectory(atPath: folder.path("d-" + name), withIntermediateDirectories: true)
        let directory = refusal(folder, folder.path("d-" + name), try Clips.options { $0.existing = .replace })
        #expect(says(directory, .cannotCreate, ["directory"]))
        try folder.write("mine", name)
        #expect(says(refusal(folder, folder.path(name), try Clips.options()), .cannotCreate, ["'overwrite'"]))
        #expect(try String(contentsOfFile: folder.path(name), encoding: .utf8) == "mine")
        #expect(refusal(folder, folder.path("nul\0" + name), try Clips.options()) != nil)
    }

    @Test(.enabled(if: getuid() != 0, "root may write anywhere"), arguments: ["a.mp4", "%02d.png"])
    func aDirectoryThatMayNotBeWrittenIsAPermissionError(name: String) throws {
        chmod(folder.path, 0o555)
        defer { chmod(folder.path, 0o755) }
        #expect(refusal(folder, folder.path(name), try Clips.options())?.kind == .permission)
    }

    @Test(arguments: ["%d%d.png", "%05i.png", "%x.png", "a%.png", "%00d.png", "%10d.png", "%5d.png", "%%.png"])
    func aPatternNeedsExactlyOneNumber(name: String) throws {
        #expect(says(refusal(folder, folder.path(name), try Clips.options()), .usage, ["%05d.png"]))
    }

    @Test func sequencesThatWouldCollideAreRefused() throws {
        let few = refusal(folder, folder.path("%02d.png"), frames: 101, try Clips.options())
        #expect(says(few, .usage, ["2 digits", "101 frames", "%03d"]))
        try FFmpegWriter.validate(
            path: folder.path("%02d.png"), width: 8, height: 8, frameCount: 100, options: try Clips.options())
        try folder.write("old", "07.png")
        let old = refusal(folder, folder.path("%02d.png"), frames: 3, try Clips.options())
        #expect(says(old, .cannotCreate, ["07.png", "'overwrite'"]))
        #expect(refusal(folder, folder.path("no/such/%02d.png"), try Clips.options())?.kind == .cannotCreate)
    }

    @Test func replacingASequenceLeavesNoFrameOfTheOldOne() throws {
        for number in ["00", "07"] {
            try folder.write("old", "\(number).png")
        }
        try folder.write("mine", "other.png")
        var writer = try FFmpegWriter(
            path: folder.path("%02d.png"), width: 8, height: 8, frameCount: 2,
            options: try Clips.options { $0.existing = .replace })
        for _ in 0..<2 { try writer.write(VideoFrame(height: 8, width: 8)) }
        #expect(try String(contentsOfFile: folder.path("00.png"), encoding: .utf8) == "old")
        try writer.finish()
        #expect(folder.contents == ["00.png", "01.png", "other.png"])
    }

    @Test(arguments: ["a.mp4", "a.mkv", "a.webm", "a.gif", "a.y4m", "a.png", "new/%02d.png"])
    func whatIsNotFinishedLeavesNothing(name: String) throws {
        var cancelled = try open(name, frames: 5)
        try cancelled.write(VideoFrame(height: 48, width: 64))
        cancelled.cancel()
        #expect(folder.contents == [])

        var short = try open(name, frames: 5)
        try short.write(VideoFrame(height: 48, width: 64))
        do {
            try short.finish()
            Issue.record("a clip of 1 frame passed for 5")
        } catch {
            #expect(error.description.contains("5"))
        }
        #expect(folder.contents == [])

        try writeTooMany(name)
        #expect(folder.contents == [])
    }

    private func writeTooMany(_ name: String) throws {
        var dropped = try open(name, frames: 1)
        try dropped.write(VideoFrame(height: 48, width: 64))
        do {
            try dropped.write(VideoFrame(height: 48, width: 64))
            Issue.record("2 frames passed for 1")
        } catch {
            #expect(error.description.contains("1"))
        }
    }

    private func open(_ name: String, frames: Int) throws -> FFmpegWriter {
        try FFmpegWriter(
            path: folder.path(name), width: 64, height: 48, frameCount: frames, options: try Clips.options())
    }

    @Test func aFrameOfAnotherShapeIsRefused() throws {
        var writer = try open("a.mp4", frames: 5)
        for frame in [VideoFrame(height: 64, width: 48), VideoFrame(height: 48, width: 64, depth: .sixteen)] {
            do {
                try writer.write(frame)
                Issue.record("a frame of another shape passed")
            } catch {
                #expect(error.description.contains("64x48 of 8 bits"))
            }
        }
        writer.cancel()
    }

    @Test(arguments: ["a.mp4", "a.mov", "a.mkv", "a.webm", "a.y4m", "a.gif"], [1, 40])
    func aFullDiskIsAnIOErrorAndLeavesNothing(name: String, frames: Int) throws {
        let plan = try FFmpegWriter.validate(
            path: folder.path(name), width: 128, height: 96, frameCount: frames, options: try Clips.options())
        #expect(symlink("/dev/full", folder.path("temporary")) == 0)
        do {
            let sink = try VideoSink(plan, temporary: folder.path("temporary"))
            for index in 0..<frames { try sink.write(Clips.noise(index, width: 128, height: 96)) }
            try sink.finish()
            Issue.record("a full disk went unnoticed")
        } catch {
            #expect(says(error, .ioError, [name, "No space left on device"]))
        }
        #expect(folder.contents == [])
    }

    @Test(arguments: ["0", "-1", "nan", "inf", "1e9", "16,5", "1/0", "0/1", " 16", "16 ", "30000/", "/1001", "2000",
        "99999999999999999999", "1.2.3", "1.", ".5", "+16", "30000/1001/1", "", "16/-1", "1.2345"])
    func badFrameRatesAreRefused(text: String) {
        #expect(throws: MediaError.self) { try FrameRate(parsing: text) }
    }

    @Test(arguments: [("16", 16, 1), ("30000/1001", 30000, 1001), ("23.976", 2997, 125), ("25.0", 25, 1), ("50/2", 25, 1)])
    func goodFrameRatesAreExact(text: String, numerator: Int, denominator: Int) throws {
        let rate = try FrameRate(parsing: text)
        #expect(rate.numerator == numerator && rate.denominator == denominator)
    }
}
