import Foundation
import VDiT

/// The toy's VAE before its weights: every latent pixel becomes 4×4 pixels of two frames, the first of one.
struct ToyVAEConfig: DecoderSpecification {
    var latentChannels = 6
    let spatialCompression = 4
    let temporalCompression = 2

    init() {}

    init(_ file: ConfigFile) throws(FileError) {
        _ = try file.string("_class_name", oneOf: ["ToyVAE"])
        latentChannels = try file.integer("channels", 1...100)
    }

    var tensors: [(name: String, shape: [Int])] { [("colours.weight", [3, latentChannels])] }

    var summary: String { "\(latentChannels) latent channels, 4× in space, 2× in time" }

    var configuration: [String: ConfigurationValue] {
        ["_class_name": .text("ToyVAE"), "channels": .integer(latentChannels)]
    }

    func decodeFLOPs(height: Int, width: Int, frames: Int) -> Double {
        Double(2 * 3 * latentChannels * frames * height * width / 16)
    }

    func decodeBytes(height: Int, width: Int, operandBytes: Int) -> Int { height * width * 3 * 2 * 4 }

    func load(_ weights: any WeightSource, _ compute: ComputeContext) throws -> any VideoDecoder {
        ToyVAE(config: self, colours: try ToyMatrix(weights, "colours.weight"))
    }
}

private struct ToyVAE: VideoDecoder {
    let config: ToyVAEConfig
    let colours: ToyMatrix
    var weightBytes: Int { colours.byteCount }

    func decode(
        _ latents: Tensor, _ conditions: DecodeConditions, onFrames: ([Tensor]) throws -> Void
    ) throws {
        let shape = LatentShape(latents.shape)
        let values = latents.floats()
        let plane = shape.height * shape.width
        for frame in 0..<shape.frames {
            let pixels = (0..<plane).map { pixel in
                colours((0..<shape.channels).map { values[($0 * shape.frames + frame) * plane + pixel] })
                    .map { tanh($0) }
            }
            let rows = (0..<shape.height * 4).map { row in
                (0..<shape.width * 4).flatMap { pixels[row / 4 * shape.width + $0 / 4] }
            }
            let made = { Tensor(rows.flatMap { $0 }, shape: [shape.height * 4, shape.width * 4, 3]) }
            try onFrames(frame == 0 ? [made()] : [made(), made()])
        }
    }
}
