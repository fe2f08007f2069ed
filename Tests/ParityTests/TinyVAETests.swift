import Testing
import TestSupport
import VDiT

/// Tiny autoencoders compute what their authors' code does, beside the models whose latents they take.
@Suite struct TinyVAETests {
    static let names = ["taew2_1", "taew2_2"]

    private static func file(_ name: String) -> String { Golden.path("tiny-vae/\(name)/\(name).safetensors") }

    private static func decoded(_ name: String, _ compute: ComputeContext) throws -> (found: Tensor, expected: Tensor) {
        let opened = try ModelCatalogue.openDecoder(file(name))
        let io = try SafetensorsReader(Golden.path("tiny-vae/\(name)/io.safetensors"))
        var frames: [Tensor] = []
        try opened.specification.load(opened.weights, compute).decode(io.tensor("latents")) { frames += $0 }
        return (Tensor.clip(frames), try io.tensor("frames"))
    }

    @Test(arguments: names, InstructionSet.supported)
    func decodedVideoIsTheReferences(_ name: String, _ set: InstructionSet) throws {
        let (found, expected) = try Self.decoded(
            name, ComputeContext(pool: WorkPool(threads: 2), instructionSet: set, precision: .fp32))
        #expect(found.shape == expected.shape)
        let error = Golden.difference(found, expected)
        #expect(error.relative < 2e-5 && error.maximum < 1e-4, "\(error)")
    }

    @Test(arguments: names, InstructionSet.supported)
    func bf16IsCloseAndTheSameOnAnyThreads(_ name: String, _ set: InstructionSet) throws {
        let (found, expected) = try Self.decoded(
            name, ComputeContext(pool: WorkPool(threads: 3), instructionSet: set, precision: .bf16))
        #expect(Golden.difference(found, expected).relative < 3e-2)
        let (alone, _) = try Self.decoded(
            name, ComputeContext(pool: WorkPool(threads: 1), instructionSet: set, precision: .bf16))
        #expect(found.floats() == alone.floats())
    }

    @Test func sizesFollowFromTheTensors() throws {
        let decoder = try ModelCatalogue.openDecoder(Self.file("taew2_2")).specification
        #expect(decoder.latentChannels == 48 && decoder.spatialCompression == 16 && decoder.temporalCompression == 4)
        #expect(!decoder.hasEncoder)
        let size = decoder.videoSize(of: LatentShape(channels: 48, frames: 21, height: 10, width: 20))
        #expect(size == (320, 160, 81))
    }

    /// A tiny one's work is a small part of the VAE's, and so is what it keeps.
    @Test func releasedOnesAreSmall() {
        let (tiny, whole) = (TinyVAEConfig(), WanVAEConfig.wan21)
        let ratio = whole.decodeFLOPs(height: 480, width: 832, frames: 21)
            / tiny.decodeFLOPs(height: 480, width: 832, frames: 21)
        #expect(ratio > 20, "\(ratio)")
        #expect(tiny.decodeBytes(height: 480, width: 832, operandBytes: 2)
            < whole.decodeBytes(height: 480, width: 832, operandBytes: 2))
    }

    @Test func aModelOfAnotherFamilyIsRefused() throws {
        let family = try #require(ModelCatalogue.family(named: "mochi"))
        #expect {
            _ = try ModelCatalogue.openDecoder(Self.file("taew2_1"), beside: family)
        } throws: { "\($0)".contains("a tiny VAE with a model of mochi") }
    }

    @Test func whatIsNoSuchDecoderIsRefusedByItsTensor() throws {
        let folder = try TemporaryDirectory()
        let path = folder.path("tiny.safetensors")
        let good = try SafetensorsReader(Self.file("taew2_1"))
        func open(_ change: (inout [SafetensorsWriter.Entry]) -> Void) throws {
            var entries = try good.names.map {
                SafetensorsWriter.Entry(name: $0, dtype: .f32, shape: try good.tensor($0).shape)
            }
            change(&entries)
            try SafetensorsWriter.write(entries, to: path, existing: .replace) { Tensor($0.dtype, $0.shape) }
            _ = try ModelCatalogue.openDecoder(path)
        }
        func replace(_ name: String, _ shape: [Int]) -> (inout [SafetensorsWriter.Entry]) -> Void {
            { entries in entries = entries.map { $0.name == name ? .init(name: name, dtype: .f32, shape: shape) : $0 } }
        }
        try open { _ in }
        #expect { try open(replace("decoder.13.conv.weight", [100, 32, 1, 1])) } throws: {
            "\($0)".contains("decoder.13.conv.weight")
        }
        #expect { try open(replace("decoder.22.weight", [5, 16, 3, 3])) } throws: {
            "\($0)".contains("decoder.22.weight")
        }
        #expect { try open { $0.removeAll { $0.name == "decoder.9.conv.2.bias" } } } throws: {
            "\($0)".contains("decoder.9.conv.2.bias")
        }
    }
}
