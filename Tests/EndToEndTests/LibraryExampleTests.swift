import Foundation
import Testing
import TestSupport
import VDiT

/// The README's library example, at a size for a test.
@Suite struct LibraryExampleTests {
    @Test func tenLinesRenderAVideo() throws {
        let folder = try TemporaryDirectory()
        var job = RenderJob(
            model: Golden.sample("wan-mini"),
            promptEmbedding: Golden.sample("prompts/01-red-ball-right.safetensors"),
            destination: VideoDestination(path: folder.path + "/ball.mp4"))
        job.negativePrompt = .embedding(Golden.sample("prompts/empty.safetensors"))
        job.request.width = 96
        job.request.height = 64
        job.request.numFrames = 5
        job.request.steps = 2
        job.request.seed = 7
        var steps: [Int] = []
        let record = try Renderer(job).run { event in
            if case .step(let done, _, _) = event { steps.append(done) }
        }
        #expect(steps == [1, 2])
        #expect(record.attention?.densityMean ?? 1 == 1)
        #expect(record.timingS.denoise > 0)
        let reader = try FFmpegReader(folder.path + "/ball.mp4")
        var frames = 0
        while try reader.next() != nil { frames += 1 }
        #expect(frames == 5)
    }
}
