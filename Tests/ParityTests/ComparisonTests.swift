import Foundation
import TestSupport
import Testing
import VDiT

/// Golden clips as files a person would compare, and the numbers of scikit-image and FFmpeg for them.
private struct ComparedGolden {
    let folder: TemporaryDirectory
    let expected: [String: Any]
    private let tensors: SafetensorsReader

    static let clip = "clip-5x48x64"

    init(_ distortion: String) throws {
        folder = try TemporaryDirectory()
        let data = try Data(contentsOf: URL(fileURLWithPath: Golden.path("metrics/\(Self.clip).json")))
        let object = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        let clips = try #require(object["clips"] as? [String: [String: Any]])
        expected = try #require(clips[distortion])
        tensors = try SafetensorsReader(Golden.path("metrics/\(Self.clip).safetensors"))
    }

    func tensor(_ name: String) throws -> Tensor { try tensors.tensor(name) }

    /// Writes a clip as this kind of file.
    func file(_ name: String, _ kind: String) throws -> String {
        let tensor = try tensors.tensor("\(name).rgb")
        let frames = (0..<tensor.shape[0]).map { VideoFrame(pixels: tensor[$0]) }
        switch kind {
        case "saved frames":
            let path = folder.path("\(name).safetensors")
            try SafetensorsWriter.write(["frames": tensor], to: path, existing: .refuse)
            return path
        case "png":
            let path = folder.path("\(name)/%03d.png")
            try FileManager.default.createDirectory(
                atPath: folder.path(name), withIntermediateDirectories: true)
            try Clips.write(frames, to: path, Clips.options())
            return path
        default:
            let path = folder.path("\(name).mkv")
            try Clips.write(frames, to: path, Clips.options { $0.codec = .ffv1 })
            return path
        }
    }

    /// A Y4M file of exactly the planes FFmpeg measured.
    func planes(_ name: String) throws -> String {
        let tensor = try tensors.tensor("\(name).yuv444p_planes")
        var bytes = Array("YUV4MPEG2 W\(tensor.shape[3]) H\(tensor.shape[2]) F16:1 Ip A1:1 C444\n".utf8)
        for frame in 0..<tensor.shape[0] {
            bytes += Array("FRAME\n".utf8)
            tensor[frame].withBytes { bytes += Array($0) }
        }
        return try folder.write(bytes, "\(name).y4m")
    }
}

private func number(_ value: Any?) -> Double {
    (value as? NSNumber)?.doubleValue ?? (value as? String == "inf" ? .infinity : .nan)
}

private let distortions = [
    "noise_sigma8", "blur5", "quantized16", "shift1px", "growing_noise_first_frame_identical",
    "brightness_plus10",
]

@Suite struct ComparisonTests {
    @Test(arguments: distortions, ["saved frames", "png", "ffv1"])
    func filesGetTheNumbersOfTheReference(distortion: String, kind: String) throws {
        let golden = try ComparedGolden(distortion)
        let comparison = try FileComparison(
            reference: try golden.file("reference", kind), candidates: [try golden.file(distortion, kind)])
        let quality = comparison.candidates[0].quality
        #expect(comparison.candidates[0].warnings == [])
        let psnr = try #require(quality.psnr)
        #expect(abs(psnr - number(golden.expected["psnr_total_from_mean_mse_db"])) < 1e-6)
        let mean = try #require(quality.psnrMeanOfFrames)
        #expect(abs(mean - number(golden.expected["psnr_mean_of_finite_frames_db"])) < 1e-6)
        let perFrame = (golden.expected["psnr_per_frame_db"] as? [Any] ?? []).map(number)
        #expect(perFrame.count == quality.perFrame.count)
        for (frame, expected) in zip(quality.perFrame, perFrame) {
            #expect(expected.isInfinite ? frame.psnr == nil && frame.isIdentical : abs((frame.psnr ?? 0) - expected) < 1e-6)
        }
        #expect(quality.identicalFrames == perFrame.count { $0.isInfinite })
        let ssim = try #require(quality.ssim)
        #expect(abs(ssim - number(golden.expected["ssim_gaussian11_rgb_mean"])) < 1e-7)
    }

    @Test(arguments: distortions)
    func losslessFilesGetTheNumbersOfFFmpegsFilters(distortion: String) throws {
        let golden = try ComparedGolden(distortion)
        let filters = try #require(golden.expected["ffmpeg"] as? [String: [String: Any]])
        let rgb = try #require(filters["gbrp"])
        let frames = try FileComparison(
            reference: try golden.file("reference", "ffv1"), candidates: [try golden.file(distortion, "ffv1")])
        let quality = frames.candidates[0].quality
        let perFrame = try #require(rgb["psnr_frames"] as? [[String: Any]])
        for (frame, expected) in zip(quality.perFrame, perFrame) {
            let value = number(expected["psnr.psnr_avg"])
            #expect(value.isInfinite ? frame.isIdentical : abs((frame.psnr ?? 0) - value) < 1e-4)
        }
        let blocks = try #require(rgb["ssim_frames"] as? [[String: Any]])
        let all = blocks.map { number($0["ssim.All"] ?? $0["ssim.all"]) }
        #expect(abs((quality.ssimFfmpeg ?? 0) - all.reduce(0, +) / Double(all.count)) < 1e-5)

        let planes = try #require(filters["yuv444p"])
        let stored = try FileComparison(
            reference: try golden.planes("reference"), candidates: [try golden.planes(distortion)])
        let found = try #require(stored.candidates[0].planes)
        let squared = try #require(planes["psnr_frames"] as? [[String: Any]])
        let mean = squared.reduce(0) { $0 + number($1["psnr.mse_avg"]) } / Double(squared.count)
        let average = try #require(found.psnrAverage)
        #expect(abs(average - PSNR.decibels(meanSquared: mean)) < 1e-4)
        let similar = try #require(planes["ssim_frames"] as? [[String: Any]])
        let values = similar.map { number($0["ssim.All"] ?? $0["ssim.all"]) }
        #expect(abs((found.ssimAll ?? 0) - values.reduce(0, +) / Double(values.count)) < 1e-5)
    }

    @Test func identicalClipsAreNullAndCounted() throws {
        let golden = try ComparedGolden("blur5")
        let (reference, copy) = (try golden.file("reference", "ffv1"), try golden.file("reference", "png"))
        let comparison = try FileComparison(reference: reference, candidates: [copy])
        let quality = comparison.candidates[0].quality
        #expect(quality.psnr == nil && quality.psnrMeanOfFrames == nil && quality.psnrLowestFrame == nil)
        #expect(quality.identicalFrames == quality.frames && quality.ssim == 1)
        #expect(quality.psnrMeanOfFramesCapped == 60)
        #expect(comparison.candidates(below: 1000).isEmpty)
        let json = String(decoding: try encoded(comparison), as: UTF8.self)
        #expect(json.contains("\"psnr\" : null") && json.contains("\"identical_frames\" : 5"))
    }

    @Test func numbersSurviveTheirFile() throws {
        let golden = try ComparedGolden("growing_noise_first_frame_identical")
        let comparison = try FileComparison(
            reference: try golden.file("reference", "ffv1"),
            candidates: [try golden.file("growing_noise_first_frame_identical", "ffv1")])
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        #expect(try decoder.decode(FileComparison.self, from: try encoded(comparison)) == comparison)
    }

    @Test func numbersDoNotDependOnThreads() throws {
        let golden = try ComparedGolden("noise_sigma8")
        let (reference, candidate) = (
            try golden.file("reference", "ffv1"), try golden.file("noise_sigma8", "ffv1")
        )
        let one = try FileComparison(reference: reference, candidates: [candidate], threads: 1)
        #expect(try FileComparison(reference: reference, candidates: [candidate], threads: 3) == one)
    }

    @Test func aFlickerLowersTheChangeMeasureAndAnOffsetDoesNot() throws {
        let folder = try TemporaryDirectory()
        func clip(_ name: String, _ offset: (Int) -> Int) throws -> String {
            let path = folder.path("\(name).mkv")
            let frames = (0..<6).map { index in
                Clips.frame(32, 32, .eight) { row, column, _ in 60 + row + column + offset(index) }
            }
            try Clips.write(frames, to: path, Clips.options { $0.codec = .ffv1 })
            return path
        }
        let comparison = try FileComparison(
            reference: try clip("still", { _ in 0 }),
            candidates: [try clip("offset", { _ in 8 }), try clip("flicker", { $0 % 2 == 0 ? 8 : -8 })])
        let (offset, flicker) = (comparison.candidates[0].quality, comparison.candidates[1].quality)
        #expect(offset.psnr == flicker.psnr)
        #expect(offset.changePsnr == nil)
        #expect(abs((flicker.changePsnr ?? 0) - PSNR.decibels(meanSquared: 256)) < 1e-9)
    }

    private func encoded(_ value: some Encodable) throws -> Data {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        return try encoder.encode(value)
    }
}
