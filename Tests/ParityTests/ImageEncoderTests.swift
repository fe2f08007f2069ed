import Foundation
import TestSupport
import Testing
import VDiT

/// The tokens of pictures are the reference's.
struct ImageEncoderTests {
    private static let path = Golden.path("wan-image/clip-vision-17-tokens")

    private static func tokens(_ precision: Precision, threads: Int) throws -> [Tensor] {
        let input = try SafetensorsReader(path + "/io.safetensors").tensor("input.pixel_values")
        return try CLIPVisionEncoder(folder: path).encode(
            [input[0].copy(), input[1].copy()], compute: ComputeContext(threads: threads, precision: precision))
    }

    @Test(arguments: [(Precision.fp32, 2e-5), (.bf16, 2e-2)])
    func hiddenStatesBeforeTheLastLayerAreTheReferences(_ precision: Precision, _ tolerance: Double) throws {
        let expected = try SafetensorsReader(Self.path + "/io.safetensors").tensor("output.penultimate")
        for (index, found) in try Self.tokens(precision, threads: 2).enumerated() {
            let error = Golden.difference(found, expected[index])
            #expect(error.relative < tolerance, "picture \(index): \(error)")
        }
    }

    @Test func theyDoNotDependOnThreadsOrOtherPictures() throws {
        let input = try SafetensorsReader(Self.path + "/io.safetensors").tensor("input.pixel_values")
        let both = try Self.tokens(.fp32, threads: 1)
        #expect(try Self.tokens(.fp32, threads: 3).map { $0.floats() } == both.map { $0.floats() })
        let alone = try CLIPVisionEncoder(folder: Self.path).encode(
            [input[1].copy()], compute: ComputeContext(threads: 2, precision: .fp32))
        #expect(alone[0].floats() == both[1].floats())
    }

    /// Names as older writers have them, and a last layer that is not there.
    @Test func prefixesAreKnownAndWhatIsNotReadMayBeMissing() throws {
        let folder = try TemporaryDirectory()
        let store = try WeightStore(Self.path + "/model.safetensors")
        var tensors: [String: Tensor] = [:]
        for name in store.names where !name.hasPrefix("encoder.layers.3.") && !name.hasPrefix("post") {
            tensors["vision_model.\(name)"] = try store.tensor(name)
        }
        try folder.write(String(contentsOfFile: Self.path + "/config.json", encoding: .utf8), "clip/config.json")
        try SafetensorsWriter.write(
            tensors, metadata: [:], to: folder.path("clip/model.safetensors"), existing: .refuse)
        let input = try SafetensorsReader(Self.path + "/io.safetensors").tensor("input.pixel_values")
        let compute = try ComputeContext(threads: 1, precision: .fp32)
        let found = try CLIPVisionEncoder(folder: folder.path("clip")).encode([input[0].copy()], compute: compute)
        #expect(try found[0].floats() == Self.tokens(.fp32, threads: 1)[0].floats())

        tensors["vision_model.encoder.layers.1.mlp.fc1.bias"] = nil
        try SafetensorsWriter.write(
            tensors, metadata: [:], to: folder.path("clip/model.safetensors"), existing: .replace)
        let error = try #require(throws: TensorError.self) { try CLIPVisionEncoder(folder: folder.path("clip")) }
        #expect("\(error)".contains("missing: vision_model.encoder.layers.1.mlp.fc1.bias") && error.kind == .badData)
    }

    /// The middle square, by Pillow's bicubic filter.
    @Test func picturesAreCroppedAsTheProcessorDoes() throws {
        let io = try SafetensorsReader(Golden.path("wan-image/resize/io.safetensors"))
        let source = VideoFrame(pixels: try io.tensor("clip.source").copy())
        let expected = try io.tensor("clip.bicubic_resized_cropped")
        let (short, long) = (source.width, source.height)
        let made = source.resized(width: 112, height: 112 * long / short, by: .bicubic).cropped(width: 112, height: 112)
        #expect(made.pixels.withBytes { Array($0) } == expected.withBytes { Array($0) })
    }
}
