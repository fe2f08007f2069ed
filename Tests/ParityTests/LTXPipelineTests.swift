import Foundation
import TestSupport
import Testing
import VDiT

/// Whole tiny LTX-Video runs of diffusers: noise levels, latents after every step, decoded frames.
struct LTXPipelineTests {
    static let names = ["t2v-dynamic-shift-rescale", "t2v-distilled-timestep-list"]

    private func tokens(_ latents: Tensor) -> Tensor {
        Golden.swappingFirstAxes(latents.reshaped([latents.shape[0], latents.count / latents.shape[0]]))
    }

    @Test(arguments: names)
    func everyStepIsTheReferences(_ name: String) throws {
        let golden = try LTXGolden(name)
        let folder = try TemporaryDirectory()
        try golden.write(to: folder)
        var job = try golden.job(in: folder)
        job.saveTrajectory = folder.path("steps")
        let renderer = try Renderer(job)
        let io = try golden.io
        let sigmas = try io.tensor("sigmas").floats()
        #expect(renderer.plan.steps.count == sigmas.count - 1)
        for (step, sigma) in zip(renderer.plan.steps, sigmas) { #expect(abs(Float(step.sigma) - sigma) < 2e-7) }
        for (step, time) in zip(renderer.plan.steps, try io.tensor("timesteps").floats()) {
            #expect(abs(step.timestep - time) < 2e-4)
        }
        _ = try renderer.run()
        for index in 0..<golden.steps {
            let made = try SafetensorsReader(folder.path("steps/" + String(format: "step_%03d.safetensors", index)))
            let latents = Golden.difference(
                tokens(try made.tensor("latents")[0]), try io.tensor("latents_after_step\(index)")[0])
            #expect(latents.relative < 2e-4, "step \(index): \(latents)")
            let outputs = "model_output.step\(index)"
            guard io.info(outputs) != nil else { continue }
            // Of a batch of two, the prompt's is the second.
            let expected = try io.tensor(outputs)
            let both = ["noise_pred_cond", "noise_pred_uncond"].filter { made.info($0) != nil }
            #expect(both.count == expected.shape[0])
            for (place, name) in both.reversed().enumerated() {
                let error = Golden.difference(tokens(try made.tensor(name)[0]), expected[place])
                #expect(error.relative < 5e-5, "\(name) of step \(index): \(error)")
            }
        }
    }

    @Test(arguments: names)
    func theVideoIsTheReferences(_ name: String) throws {
        let golden = try LTXGolden(name)
        let folder = try TemporaryDirectory()
        try golden.write(to: folder)
        let io = try golden.io
        let model = try ModelDirectory(path: folder.path("model"))
        let compute = try ComputeContext(threads: 2, precision: .fp32)
        let decoder = try model.specification.decoder.load(model.decoderWeights, compute)
        let packed = try io.tensor("latents_after_step\(golden.steps - 1)")[0]
        let shape = try io.tensor("initial_noise").shape.dropFirst()
        var conditions = DecodeConditions()
        let noises = try io.info("decode_noise") == nil ? [] : [io.tensor("decode_noise")]
        conditions.noise = .given(noises)
        let video = try collectFrames(
            Golden.swappingFirstAxes(packed).reshaped(Array(shape)), decoder, conditions, frameCount: golden.frames)
        let pixels = try (0..<golden.frames).flatMap { number in
            try VideoFrame(rounding: video.channelsLastFrame(number)).pixels.withBytes { Array($0) }
        }
        let expected = try io.tensor("frames_uint8_rounded").withBytes { Array($0) }
        #expect(pixels.count == expected.count)
        let squares = zip(pixels, expected).reduce(0) { $0 + (Int($1.0) - Int($1.1)) * (Int($1.0) - Int($1.1)) }
        // 60 dB; rounding alone may move a value by one.
        #expect(Double(squares) / Double(pixels.count) < 255 * 255 * 1e-6)
    }
}
