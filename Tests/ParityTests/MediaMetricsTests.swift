import Foundation
import TestSupport
import Testing
import VDiT

/// The clips and reference numbers of Tests/Golden/metrics.
private struct MetricsGolden {
    let clips: [String: [String: Any]]
    let tensors: SafetensorsReader

    init(_ name: String) throws {
        let data = try Data(contentsOf: URL(fileURLWithPath: Golden.path("metrics/\(name).json")))
        let object = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        clips = try #require(object["clips"] as? [String: [String: Any]])
        tensors = try SafetensorsReader(Golden.path("metrics/\(name).safetensors"))
    }

    func frames(_ clip: String) throws -> [VideoFrame] {
        let tensor = try tensors.tensor("\(clip).rgb")
        return (0..<tensor.shape[0]).map { VideoFrame(pixels: tensor[$0]) }
    }
}

/// JSON has no infinity; the goldens write "inf".
private func number(_ value: Any?) -> Double {
    (value as? NSNumber)?.doubleValue ?? (value as? String == "inf" ? .infinity : .nan)
}

private func numbers(_ value: Any?) -> [Double] { (value as? [Any] ?? []).map(number) }

private func agree(_ a: Double, _ b: Double, _ tolerance: Double) -> Bool {
    a == b || abs(a - b) <= tolerance
}

private func agree(_ a: [Double], _ b: [Double], _ tolerance: Double) -> Bool {
    !b.isEmpty && a.count == b.count && zip(a, b).allSatisfy { agree($0, $1, tolerance) }
}

private let clipNames = ["clip-5x48x64", "clip-3x37x53-odd-size"]
private let distortions = [
    "noise_sigma8", "blur5", "quantized16", "shift1px", "growing_noise_first_frame_identical",
    "brightness_plus10",
]

/// The window pytorch-msssim uses on double data too: a Gaussian computed and normalised in fp32.
private let pytorchWindow: [Double] = {
    let half: [Float] = [0.00102838036, 0.00759875821, 0.0360007733, 0.109360687, 0.213005528, 0.266011715]
    return (half + half.dropLast().reversed()).map(Double.init)
}()

@Suite struct MediaMetricsTests {
    @Test(arguments: clipNames, distortions)
    func psnrIsThatOfTheReference(clip: String, distortion: String) throws {
        let golden = try MetricsGolden(clip)
        let expected = try #require(golden.clips[distortion])
        var psnr = PSNR()
        for (frame, reference) in zip(try golden.frames(distortion), try golden.frames("reference")) {
            psnr.add(try PSNR.compare(frame, to: reference))
        }
        let tolerance = 1e-6
        #expect(agree(psnr.frames.map(\.meanSquared), numbers(expected["mse_per_frame"]), 1e-9))
        #expect(agree(psnr.frames.map(\.psnr), numbers(expected["psnr_per_frame_db"]), tolerance))
        #expect(agree(psnr.pooled, number(expected["psnr_total_from_mean_mse_db"]), tolerance))
        #expect(agree(psnr.meanOfFrames, number(expected["psnr_mean_of_finite_frames_db"]), tolerance))
        #expect(agree(psnr.pooledChannels, numbers(expected["psnr_per_channel_total_db"]), tolerance))
    }

    @Test(arguments: clipNames, distortions)
    func ssimIsThatOfScikitImage(clip: String, distortion: String) throws {
        let golden = try MetricsGolden(clip)
        let expected = try #require(golden.clips[distortion])
        let perChannel = (expected["ssim_gaussian11_per_frame_per_channel"] as? [Any] ?? []).map(numbers)
        let uniform = numbers(expected["ssim_uniform7_sample_covariance_rgb_per_frame"])
        let lumas = numbers(expected["ssim_gaussian11_luma_plane_per_frame"])
        let frames = try golden.frames(distortion)
        let references = try golden.frames("reference")
        let planes = try golden.tensors.tensor("\(distortion).yuv444p_planes")
        let referencePlanes = try golden.tensors.tensor("reference.yuv444p_planes")
        var mean = 0.0
        #expect(perChannel.count == frames.count)
        for index in frames.indices {
            let channels = try SSIM.channels(frames[index], to: references[index])
            #expect(agree(channels, perChannel[index], 1e-7))
            mean += channels.reduce(0, +) / 3 / Double(frames.count)
            let other = try SSIM.channels(frames[index], to: references[index], window: .uniform7)
            #expect(agree(other.reduce(0, +) / 3, uniform[index], 1e-7))
            let luma = try SSIM.plane(planes[index][0], to: referencePlanes[index][0])
            #expect(agree(luma, lumas[index], 1e-7))
        }
        #expect(agree(mean, number(expected["ssim_gaussian11_rgb_mean"]), 1e-7))
    }

    @Test(arguments: clipNames, distortions)
    func block8SSIMIsThatOfFFmpeg(clip: String, distortion: String) throws {
        let golden = try MetricsGolden(clip)
        let ffmpeg = try #require(golden.clips[distortion]?["ffmpeg"] as? [String: [String: Any]])
        let gbrp = try #require(ffmpeg["gbrp"])
        let yuv = try #require(ffmpeg["yuv444p"])
        let exact = (gbrp["ssim_block8_float64_restatement"] as? [Any] ?? []).map(numbers)
        let printed = try #require(gbrp["ssim_frames"] as? [[String: Any]])
        let exactPlanes = (yuv["ssim_block8_float64_restatement"] as? [Any] ?? []).map(numbers)
        let frames = try golden.frames(distortion)
        let references = try golden.frames("reference")
        let planes = try golden.tensors.tensor("\(distortion).yuv444p_planes")
        let referencePlanes = try golden.tensors.tensor("reference.yuv444p_planes")
        #expect(exact.count == frames.count)
        for index in frames.indices {
            let rgb = try SSIM.channels(frames[index], to: references[index], window: .block8)
            #expect(agree([rgb[1], rgb[2], rgb[0]], exact[index], 1e-7))
            let keys = ["ssim.R", "ssim.G", "ssim.B"].map { number(printed[index][$0]) }
            #expect(agree(rgb, keys, 1e-6))
            let own = try (0..<3).map {
                try SSIM.plane(planes[index][$0], to: referencePlanes[index][$0], window: .block8)
            }
            #expect(agree(own, exactPlanes[index], 1e-7))
        }
    }

    @Test(arguments: ["noise_sigma8", "blur5", "quantized16"])
    func multiScaleSSIMIsThatOfPytorchMSSSIM(distortion: String) throws {
        let golden = try MetricsGolden("msssim-2x176x192-gray")
        let expected = numbers(try #require(golden.clips[distortion])["ms_ssim_per_frame"])
        let gray = try golden.tensors.tensor("\(distortion).gray")
        let reference = try golden.tensors.tensor("reference.gray")
        let values = try (0..<gray.shape[0]).map {
            try SSIM.multiScale(gray[$0], to: reference[$0], taps: pytorchWindow)
        }
        #expect(agree(values, expected, 1e-7))
        let exact = try (0..<gray.shape[0]).map { try SSIM.multiScale(gray[$0], to: reference[$0]) }
        #expect(agree(exact, expected, 2e-6))
    }

    @Test func measuresDoNotDependOnThreads() throws {
        let golden = try MetricsGolden("clip-3x37x53-odd-size")
        let frame = try golden.frames("blur5")[1]
        let reference = try golden.frames("reference")[1]
        let alone = try PSNR.compare(frame, to: reference)
        for threads in [1, 2, 3] {
            let pool = WorkPool(threads: threads)
            #expect(try PSNR.compare(frame, to: reference, pool: pool) == alone)
            for window in SSIMWindow.allCases {
                #expect(
                    try SSIM.channels(frame, to: reference, window: window, pool: pool)
                        == SSIM.channels(frame, to: reference, window: window))
            }
        }
    }

    @Test func changeIsBlindToAnOffsetAndSeesFlicker() throws {
        let golden = try MetricsGolden("clip-5x48x64")
        let reference = try golden.frames("reference")
        // A constant added below saturation changes nothing from frame to frame.
        let dim = reference.map { frame in
            let copy = VideoFrame(pixels: frame.pixels.copy())
            let bytes = copy.pixels.pointer(as: UInt8.self)
            for index in 0..<copy.pixels.count { bytes[index] /= 2 }
            return copy
        }
        let lifted = dim.map { frame in
            let copy = VideoFrame(pixels: frame.pixels.copy())
            let bytes = copy.pixels.pointer(as: UInt8.self)
            for index in 0..<copy.pixels.count { bytes[index] += 10 }
            return copy
        }
        let steady = try PSNR.compareChange(from: lifted[0], to: lifted[1], reference: dim[0], dim[1])
        #expect(steady.isIdentical)
        let flicker = try PSNR.compareChange(from: lifted[0], to: dim[1], reference: dim[0], dim[1])
        #expect(flicker.meanSquared == 100)
    }

    @Test func framesAreRoundedAsDiffusersRoundsThem() throws {
        let golden = try SafetensorsReader(
            Golden.path("pipelines/wan21-t2v-unipc-shift3-6steps/io.safetensors"))
        let video = try golden.tensor("video")
        let expected = try golden.tensor("frames_uint8_rounded")
        let pool = WorkPool(threads: 2)
        let frames = try (0..<video.shape[2]).map {
            try VideoFrame(rounding: video[0].channelsLastFrame($0), pool: pool)
        }
        #expect(frames.count == expected.shape[0])
        for (frame, reference) in zip(frames, (0..<expected.shape[0]).map { expected[$0] }) {
            #expect(frame.bytes == reference.withBytes { Array($0) })
        }
    }

    @Test func halvesRoundToEvenAndEndsAreClamped() throws {
        // (k + 1/2) / 255 * 2 - 1 lands on a half after scaling only where fp32 says so; compute the same way.
        let values: [Float] = [-1, 1, -7, 9, 0, -0.99, 0.5, 1e30, -1e30].flatMap { [$0, $0.nextUp, $0.nextDown] }
        let picture = Tensor(values.flatMap { [$0, $0, $0] }, shape: [1, values.count, 3])
        let eight = try VideoFrame(rounding: picture)
        let sixteen = try VideoFrame(rounding: picture, depth: .sixteen)
        for (index, value) in values.enumerated() {
            let unit = min(max(value * 0.5 + 0.5, 0), 1)
            #expect(
                eight.pixels.pointer(as: UInt8.self)[3 * index]
                    == UInt8((unit * 255).rounded(.toNearestOrEven)))
            #expect(
                sixteen.pixels.pointer(as: UInt16.self)[3 * index + 2]
                    == UInt16((unit * 65535).rounded(.toNearestOrEven)))
        }
    }
}
