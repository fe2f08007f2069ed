import Foundation
import TestSupport
import Testing
import VDiT

/// Weights of less than 16 bits have the values that the formats' own readers give them.
@Suite struct WeightFormatTests {
    static let types = [
        "f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "iq4_nl", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k",
        "iq4_xs",
    ]

    @Test(arguments: types)
    func everyTypeOfGGUFIsDecodedBitForBit(_ type: String) throws {
        let expected = try SafetensorsReader(Golden.path("gguf/types/expected.safetensors"))
        let store = try WeightStore(Golden.path("gguf/types/\(type).gguf"))
        #expect(store.names == ["all_bits", "one_row"])
        for name in store.names {
            #expect(store.info(name)?.dtypeName == type.uppercased())
            let (found, wanted) = (try store.tensor(name), try expected.tensor("\(type.uppercased()).\(name)"))
            #expect(found.shape == wanted.shape)
            // Equal as numbers: a zero may have either sign.
            #expect(found.floats() == wanted.floats())
            if found.rank != 2 { continue }
            // Rows come out alike when they are read alone.
            let row = Tensor(.f32, [1, found.columns])
            try store.read(rows: [Int32(found.rowCount - 1)], of: name, into: row)
            #expect(row.floats() == Array(wanted.floats().suffix(found.columns)))
        }
    }

    @Test(arguments: [BlockFormat.f8E4M3, .f8E5M2])
    func everyCodeOfTheEightBitFloatsHasItsValue(_ format: BlockFormat) throws {
        let golden = try SafetensorsReader(Golden.path("fp8/codes/codes.safetensors"))
        let name = format.rawValue
        let expected = try golden.tensor("\(name).values").floats()
        let isNaN = try golden.tensor("\(name).is_nan").withBytes { $0.map { $0 == 1 } }
        // Codes that stand for no number would be refused: they are read one at a time.
        let store = try WeightStore(Golden.path("fp8/codes/codes.safetensors"))
        guard case .blocks(let codes) = try store.weight("\(name).typed") else {
            Issue.record("no blocks")
            return
        }
        let found = codes.decoded().floats()
        for code in 0..<256 {
            #expect(isNaN[code] ? found[code].isNaN : found[code] == expected[code], "\(code)")
        }
    }

    static let models = [
        "gguf/wan-q8_0/model.gguf", "gguf/wan-mixed/model.gguf", "fp8/e4m3-cast/model.safetensors",
        "fp8/comfy-scaled-e5m2-marker2/model.safetensors", "fp8/comfy-quant-e4m3/model.safetensors",
        "fp8/lightx2v-int8-per-channel/model.safetensors", "fp8/comfy-int8-convrot/model.safetensors",
        "single-file/wan-comfy-prefix-fp16/model.safetensors",
    ]

    @Test(arguments: models)
    func aSingleFileIsTheTransformerOfItsConfiguration(_ name: String) throws {
        let path = Golden.path(name)
        let folder = (path as NSString).deletingLastPathComponent
        let opened = try ModelCatalogue.openTransformer(path)
        #expect(opened.family.name == "wan")
        let config = try WanTransformerConfig(ConfigFile(path: folder + "/config.json"))
        #expect(opened.specification as? WanTransformerConfig == config)
        let io = try SafetensorsReader(folder + "/io.safetensors")
        for name in io.names where name.hasPrefix("decoded.") || name.hasPrefix("dequantised.") {
            let (found, wanted) = (
                try opened.weights.tensor(String(name.drop { $0 != "." }.dropFirst())), try io.tensor(name)
            )
            #expect(found.shape == wanted.shape)
            let error = Golden.difference(found, wanted)
            #expect(error.relative <= (path.contains("convrot") ? 1e-6 : 1e-7), "\(name): \(error)")
            if path.hasSuffix(".gguf") { #expect(found.floats() == wanted.floats(), "\(name)") }
        }
        for precision in Precision.allCases {
            let compute = try ComputeContext(threads: 2, precision: precision)
            let model = try CrossTransformer(config: config, weights: opened.weights, compute: compute)
            let (output, _) = try WanTransformerTests.run(model, io, batch: 0, compute)
            let error = Golden.difference(output, try io.tensor("output.sample")[0])
            #expect(error.relative < (precision == .fp32 ? 2e-5 : 1e-2), "\(precision): \(error)")
        }
    }

    @Test func aVAEInItsAuthorsNamesDecodesAndEncodes() throws {
        let path = Golden.path("single-file/wan21-vae-fp16/vae.safetensors")
        let opened = try ModelCatalogue.openDecoder(path)
        let config = try #require(opened.specification as? WanVAEConfig)
        #expect(config.baseDim == 2 && config.zDim == 16 && config.numResBlocks == 2)
        #expect(config.dimMult == [1, 2, 4, 4] && config.temporalDownsample == [false, true, true])
        let compute = try ComputeContext(threads: 2, precision: .fp32)
        let vae = try WanVAE(config: config, weights: opened.weights, use: .both, compute: compute)
        let io = try SafetensorsReader(Golden.path("single-file/wan21-vae-fp16/io.safetensors"))
        let latents = try io.tensor("input.latents")[0].copy()
        let mean = try io.tensor("output.latent_mean")[0]
        let encoded = try vae.encode(io.tensor("input.frames")[0])
        // The reference has them as they are before they are normalised.
        for channel in 0..<config.zDim {
            let (shift, scale) = (config.latentsMean[channel], config.latentsStd[channel])
            latents[channel].withMutableFloats { values in
                for index in values.indices { values[index] = (values[index] - shift) / scale }
            }
            encoded[channel].withMutableFloats { values in
                for index in values.indices { values[index] = values[index] * scale + shift }
            }
        }
        // Norms of two channels magnify rounding: instruction sets differ from each other by half of this.
        let video = Golden.difference(try vae.decodedClip(latents), try io.tensor("output.video")[0])
        #expect(video.relative < 1e-4 && video.maximum < 1e-3, "\(video)")
        let moments = Golden.difference(encoded, mean)
        #expect(moments.relative < 5e-6 && moments.maximum < 5e-5, "\(moments)")
    }

    @Test(arguments: [
        ("model.safetensors", "output.hidden"), ("comfy.safetensors", "output.hidden"),
        ("model.gguf", "output.hidden_gguf"),
    ])
    func aTextEncoderIsReadUnderEveryoneNames(_ file: String, _ output: String) throws {
        let folder = Golden.path("single-file/umt5-original-bf16")
        let (encoder, kind) = try TextModelFolder("\(folder)/\(file)", tokenizer: "-").openEncoder()
        #expect(kind == .umt5 && encoder.width == 40 && encoder.vocabularySize == 90)
        let io = try SafetensorsReader("\(folder)/io.safetensors")
        let inputs = try TextEncoderTests.inputs(io)
        let compute = try ComputeContext(threads: 2, precision: .fp32)
        let ids = Array(inputs[0].ids[..<inputs[0].count])
        let states = try encoder.encode([ids], compute: compute) { _, _ in }[0]
        let error = Golden.difference(states, try io.tensor(output)[0].slice(0..<ids.count))
        #expect(error.relative < 1e-5, "\(error)")
    }
}
