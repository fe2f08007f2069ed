import Foundation
import VDiT

/// A golden VAE of a family whose VAE is a list of stages and nothing else.
public struct StagedVAEGolden {
    public let name: String
    public let folder: String
    public let specification: any DecoderSpecification
    /// Of its tiled decode.
    public let tiling: VAETiling
    private let scale: [Float]
    private let shift: [Float]

    private struct Kind: Sendable {
        let name: String
        let tiling: VAETiling
        let read: @Sendable (ConfigFile) throws -> any DecoderSpecification
    }

    private static let kinds = [
        Kind(
            name: "cogvideox-vae/conv-cache-spatial-norm",
            tiling: VAETiling(tileHeight: 48, tileWidth: 40, strideHeight: 40, strideWidth: 32)
        ) { try CogVideoXVAEConfig($0) },
        Kind(
            name: "hunyuan-vae/causal-groupnorm-mid-attention",
            tiling: VAETiling(tileHeight: 32, tileWidth: 32, strideHeight: 24, strideWidth: 24)
        ) { try HunyuanVideoVAEConfig($0) },
        Kind(
            name: "mochi-vae/asymmetric",
            tiling: VAETiling(tileHeight: 32, tileWidth: 32, strideHeight: 24, strideWidth: 24)
        ) { try MochiVAEConfig($0) },
    ]

    public static let names = kinds.map(\.name)

    public init(_ name: String) throws {
        let kind = Self.kinds.first { $0.name == name } ?? Self.kinds[0]
        self.name = name
        folder = Golden.path(name)
        tiling = kind.tiling
        specification = try kind.read(ConfigFile(path: folder + "/config.json"))
        let channels = specification.latentChannels
        switch specification {
        case let config as MochiVAEConfig: (scale, shift) = (config.latentsStd, config.latentsMean)
        case let config as HunyuanVideoVAEConfig:
            scale = Array(repeating: Float(1 / config.scalingFactor), count: channels)
            shift = Array(repeating: 0, count: channels)
        default:
            scale = Array(repeating: Float(1 / 0.7), count: channels)
            shift = Array(repeating: 0, count: channels)
        }
    }

    public var io: SafetensorsReader { get throws { try SafetensorsReader("\(folder)/io.safetensors") } }

    private func weights() throws -> WeightStore {
        let store = try WeightStore(folder)
        try store.check(specification.tensors)
        return store
    }

    public struct Absent: Error {}

    public func decoder(_ compute: ComputeContext) throws -> StagedDecoder {
        guard let decoder = try specification.load(weights(), compute) as? StagedDecoder else { throw Absent() }
        return decoder
    }

    public func encoder(_ compute: ComputeContext) throws -> StagedEncoder {
        guard let encoder = try specification.loadEncoder(weights(), compute) as? StagedEncoder else { throw Absent() }
        return encoder
    }

    /// Latents as the sampler has them, of latents as the decoder's first layer does.
    public func normalized(_ latents: Tensor) -> Tensor {
        let result = latents.copy()
        for channel in scale.indices {
            result[channel].withMutableFloats { values in
                for index in values.indices { values[index] = (values[index] - shift[channel]) / scale[channel] }
            }
        }
        return result
    }
}
