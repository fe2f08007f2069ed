import Foundation
import TestSupport
import Testing
import VDiT

/// Each pair of files that cannot be compared ends in one line that says why.
@Suite struct CompareFilesTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private func clip(
        _ name: String, frames: Int = 6, width: Int = 48, height: Int = 32,
        _ change: (inout VideoOptions) -> Void = { $0.codec = .ffv1 }
    ) throws -> String {
        let path = folder.path(name)
        try FileManager.default.createDirectory(
            atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        let pictures = (0..<frames).map { Clips.smooth($0, width: width, height: height) }
        try Clips.write(pictures, to: path, Clips.options(change))
        return path
    }

    private func message(_ reference: String, _ candidate: String) -> (text: String, kind: FailureKind?) {
        do {
            _ = try FileComparison(reference: reference, candidates: [candidate])
            return ("no error", nil)
        } catch {
            return ("\(error)", (error as? any Failure)?.kind)
        }
    }

    @Test func differentSizesAreRefused() throws {
        let found = message(try clip("a.mkv"), try clip("b.mkv", width: 64))
        #expect(found.text.hasSuffix("b.mkv: size: found 64x32, expected 48x32 as \(folder.path("a.mkv"))"))
        #expect(found.kind == .badData)
    }

    @Test func differentRatesAreRefused() throws {
        let rate = try FrameRate(24)
        let other = try clip("b.mkv") { $0.codec = .ffv1; $0.frameRate = rate }
        let found = message(try clip("a.mkv"), other)
        #expect(found.text.contains("b.mkv: frame rate: found 24, expected 16"))
    }

    @Test func differentLengthsAreRefusedUnlessCut() throws {
        let (long, short) = (try clip("a.mkv"), try clip("b.mkv", frames: 4))
        let found = message(long, short)
        #expect(found.text.contains("b.mkv: frames: found 4, expected 6"))
        #expect(found.text.contains("'align' compares the first 4"))
        let cut = try FileComparison(reference: long, candidates: [short], length: .cutToShorter)
        #expect(cut.candidates[0].quality.frames == 4 && cut.candidates[0].quality.psnr == nil)
        #expect(cut.candidates[0].warnings.contains { $0.hasPrefix("only the first 4 frames") })
    }

    @Test func differentBitDepthsAreRefused() throws {
        let frames = (0..<2).map { Clips.busy($0, width: 48, height: 32, depth: .sixteen) }
        try FileManager.default.createDirectory(
            atPath: folder.path("deep"), withIntermediateDirectories: true)
        try Clips.write(
            frames, to: folder.path("deep/%03d.png"), Clips.options { $0.pngDepth = .sixteen })
        let found = message(try clip("a.mkv", frames: 2), folder.path("deep/%03d.png"))
        #expect(found.text.contains("bit depth: found 16, expected 8"))
    }

    @Test func aTruncatedVideoIsReportedWhereItEnds() throws {
        let path = try clip("b.mkv", frames: 40)
        let whole = try Data(contentsOf: URL(fileURLWithPath: path))
        try whole.prefix(whole.count * 2 / 3).write(to: URL(fileURLWithPath: path))
        let found = message(try clip("a.mkv", frames: 40), path)
        #expect(found.kind == .badData && found.text.contains("b.mkv"), "\(found.text)")
    }

    @Test func aSequenceWithAGapIsRefused() throws {
        let pattern = try clip("s/%03d.png") { _ in }
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path("s")).sorted()
        try FileManager.default.removeItem(atPath: folder.path("s/\(names[2])"))
        let found = message(try clip("a.mkv"), pattern)
        #expect(found.text.contains("consecutive frames"), "\(found.text)")
    }

    @Test func whatIsMissingOrNoClipIsNamed() throws {
        let reference = try clip("a.mkv")
        #expect(message(reference, folder.path("none.mkv")).kind == .missingInput)
        #expect(message(folder.path("none.safetensors"), reference).kind == .missingInput)
        #expect(message(reference, try folder.write("hello", "text.mp4")).kind == .badData)
        let tensors = folder.path("latents.safetensors")
        try SafetensorsWriter.write(
            ["latents": Tensor(.f32, [1, 16, 2, 3, 4])], to: tensors, existing: .refuse)
        let found = message(reference, tensors)
        #expect(found.text.contains("found latents F32 [1, 16, 2, 3, 4], expected one tensor of frames"))
    }

    @Test func aFileWithSoundAloneIsRefused() throws {
        // A WAV file of 100 silent samples.
        func little(_ value: Int, _ bytes: Int) -> [UInt8] { (0..<bytes).map { UInt8(value >> (8 * $0) & 255) } }
        let header = Array("RIFF".utf8) + little(236, 4) + Array("WAVEfmt ".utf8) + little(16, 4) + little(1, 2)
            + little(1, 2) + little(8000, 4) + little(16000, 4) + little(2, 2) + little(16, 2)
            + Array("data".utf8) + little(200, 4)
        let sound = try folder.write(header + [UInt8](repeating: 0, count: 200), "sound.wav")
        let found = message(try clip("a.mkv"), sound)
        #expect(found.kind == .badData && found.text.contains("sound.wav"), "\(found.text)")
    }

    @Test func whatMakesNumbersDoubtfulIsSaid() throws {
        let lossless = try clip("a.mkv")
        let lossy = try clip("b.mp4") { $0.codec = .h264 }
        let half = try FileComparison(reference: lossless, candidates: [lossy]).candidates[0]
        #expect(half.warnings.contains { $0.contains("stores colour at half resolution (h264, yuv420p)") })
        #expect(half.planes == nil)
        let same = try FileComparison(reference: lossy, candidates: [lossy]).candidates[0]
        #expect(same.warnings.contains { $0.contains("are the same file") })
        #expect(same.planes?.pixelFormat == "yuv420p" && same.planes?.psnrAverage == nil)
        try FileManager.default.createSymbolicLink(
            atPath: folder.path("link.mkv"), withDestinationPath: lossless)
        let link = try FileComparison(reference: lossless, candidates: [folder.path("link.mkv")])
        #expect(link.candidates[0].warnings.contains { $0.contains("are the same file") })
    }
}
