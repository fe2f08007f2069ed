import Foundation
import TestSupport
import Testing
import VDiT

/// The error of reading a video to its end.
private func failure(_ path: String) -> MediaError? {
    do throws(MediaError) {
        let reader = try FFmpegReader(path)
        while try reader.next() != nil {}
        return nil
    } catch {
        #expect(!error.description.contains("\n"))
        return error
    }
}

private func crc32(_ bytes: [UInt8]) -> UInt32 {
    var crc: UInt32 = .max
    for byte in bytes {
        crc ^= UInt32(byte)
        for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0xedb8_8320 : crc >> 1 }
    }
    return ~crc
}

private func bigEndian(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(value >> (24 - 8 * $0) & 255) } }

@Suite struct MediaInputTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    /// A noisy clip and its bytes; none for a sequence.
    private func clip(
        _ name: String, frames: Int = 24, _ change: (inout VideoOptions) -> Void = { _ in }
    ) throws -> [UInt8] {
        let path = folder.path(name)
        let frames = (0..<frames).map { Clips.noise($0, width: 96, height: 64) }
        try Clips.write(frames, to: path, Clips.options(change))
        return name.contains("%") ? [] : Array(try Data(contentsOf: URL(fileURLWithPath: path)))
    }

    @Test func whatIsNoVideoIsNamed() throws {
        #expect(failure(folder.path("none.mp4"))?.kind == .missingInput)
        #expect(failure(folder.path("none/%05d.png"))?.kind == .missingInput)
        #expect(failure(folder.path("%05d.png"))?.kind == .missingInput)
        #expect(failure(folder.path)?.kind == .missingInput)
        #expect(failure("/dev/zero")?.kind == .badData)
        #expect(failure(folder.path("a\0b"))?.kind == .usage)
        #expect(mkfifo(folder.path("pipe"), 0o600) == 0)
        #expect(failure(folder.path("pipe"))?.kind == .badData)
        #expect(failure(try folder.write([UInt8](), "empty.mp4"))?.kind == .badData)
        #expect(failure(try folder.write("this is no video\n", "text.mp4"))?.kind == .badData)
        #expect(failure(try folder.write([UInt8](repeating: 0, count: 10000), "zero.mkv"))?.kind == .badData)
        #expect(failure(Golden.path("metrics/clip-5x48x64.safetensors"))?.kind == .badData)
        #expect(failure(try folder.write("ffconcat version 1.0\nfile /etc/passwd\n", "concat.txt")) != nil)
    }

    @Test func soundAloneIsNoVideo() throws {
        var bytes = Array("RIFF".utf8) + [0x24, 0x10, 0, 0] + Array("WAVEfmt ".utf8)
        bytes += [16, 0, 0, 0, 1, 0, 1, 0, 0x40, 0x1f, 0, 0, 0x80, 0x3e, 0, 0, 2, 0, 16, 0]
        bytes += Array("data".utf8) + [0, 0x10, 0, 0] + [UInt8](repeating: 0, count: 4096)
        let error = failure(try folder.write(bytes, "a.wav"))
        #expect(error?.kind == .badData && error?.description.contains("no video stream") == true)
    }

    @Test(arguments: ["a.mp4", "a.mov", "a.mkv", "a.webm", "a.y4m"], [3, 30, 60, 90, 99])
    func aTruncatedFileIsAnErrorAndNotAShortClip(name: String, percent: Int) throws {
        let bytes = try clip(name)
        #expect(failure(folder.path(name)) == nil)
        let cut = try folder.write(Array(bytes.prefix(bytes.count * percent / 100)), "cut-" + name)
        let error = failure(cut)
        #expect(error != nil)
        #expect(error?.description.contains("cut-" + name) == true)
    }

    @Test func damageInsideAnFFV1FileIsFound() throws {
        var bytes = try clip("a.mkv") { $0.codec = .ffv1 }
        for index in bytes.count / 2..<bytes.count / 2 + 40 { bytes[index] ^= 0x55 }
        #expect(failure(try folder.write(bytes, "bad.mkv")) != nil)
    }

    @Test(arguments: 0..<24)
    func randomDamageNeverTraps(seed: Int) throws {
        let name = ["a.mp4", "a.mkv", "a.webm", "a.gif"][seed % 4]
        var bytes = try clip(name, frames: 4)
        var state = UInt64(seed &+ 1)
        for _ in 0..<20 {
            state = state &* 6364136223846793005 &+ 1442695040888963407
            bytes[Int(state >> 33) % bytes.count] = UInt8(state >> 25 & 255)
        }
        _ = failure(try folder.write(bytes, "bad-" + name))
    }

    @Test func aSequenceWithAGapNamesIt() throws {
        _ = try clip("%03d.png", frames: 6)
        #expect(failure(folder.path) == nil)
        unlink(folder.path("003.png"))
        for path in [folder.path, folder.path("%03d.png")] {
            let error = failure(path)
            #expect(error?.kind == .badData)
            #expect(error?.description.contains("frame 4 after frame 2") == true)
        }
        _ = try folder.write([UInt8](), "sheet.png")
        #expect(failure(folder.path)?.kind == .badData)
    }

    @Test func framesOfOtherSizesInASequenceAreNamed() throws {
        _ = try clip("%03d.png", frames: 3)
        try PNG.write(
            VideoFrame(height: 8, width: 8).pixels, to: folder.path("001.png"), existing: .replace)
        let error = failure(folder.path)
        #expect(error?.kind == .badData && error?.description.contains("001.png") == true)
    }

    @Test func damagedPNGsAreErrors() throws {
        try PNG.write(
            Tensor(.u8, [40, 30, 3]), to: folder.path("0.png"), existing: .refuse)
        let whole = Array(try Data(contentsOf: URL(fileURLWithPath: folder.path("0.png"))))
        for length in [0, 1, 7, 8, 20, 33, whole.count / 2, whole.count - 13] {
            let path = try folder.write(Array(whole.prefix(length)), "cut.png")
            #expect(throws: MediaError.self) { try PNG.read(path) }
        }
        for position in [0, 9, 17, 30, whole.count / 2] {
            var bad = whole
            bad[position] ^= 0xff
            let path = try folder.write(bad, "bad.png")
            #expect(throws: MediaError.self) { try PNG.read(path) }
        }
        // A header that promises 1,000,000 x 1,000,000 pixels must not cost their memory.
        var bomb = whole
        let header = Array("IHDR".utf8) + bigEndian(1_000_000) + bigEndian(1_000_000) + [8, 2, 0, 0, 0]
        bomb.replaceSubrange(12..<33, with: header + bigEndian(crc32(header)))
        let path = try folder.write(bomb, "bomb.png")
        do {
            _ = try PNG.read(path)
            Issue.record("the bomb was read")
        } catch {
            #expect(error.kind == .badData && error.description.contains("too large"))
        }
        #expect(throws: MediaError.self) { try PNG.read(folder.path) }
        #expect(throws: MediaError.self) { try PNG.read(folder.path("none.png")) }
    }

    @Test func picturesOfOtherShapesAreNotCompared() throws {
        let a = VideoFrame(height: 32, width: 32)
        for b in [
            VideoFrame(height: 32, width: 16), VideoFrame(height: 32, width: 32, depth: .sixteen),
        ] {
            #expect(throws: MediaError.self) { try PSNR.compare(a, to: b) }
            #expect(throws: MediaError.self) { try SSIM.channels(a, to: b) }
        }
        let small = VideoFrame(height: 10, width: 64)
        #expect(throws: MediaError.self) { try SSIM.channels(small, to: small) }
        #expect(throws: MediaError.self) { try SSIM.multiScale(a, to: a) }
    }

    @Test(arguments: [Float.nan, .infinity, -.infinity])
    func aVideoThatIsNotFiniteIsAnError(value: Float) {
        for position in [0, 100, 3 * 8 * 9 - 1] {
            var values = [Float](repeating: 0.25, count: 3 * 8 * 9)
            values[position] = value
            let picture = Tensor(values, shape: [8, 9, 3])
            #expect(throws: MediaError.self) { try VideoFrame(rounding: picture) }
            #expect(throws: MediaError.self) { try VideoFrame(rounding: picture, depth: .sixteen) }
        }
    }
}
