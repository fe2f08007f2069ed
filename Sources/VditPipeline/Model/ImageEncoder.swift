import Foundation
import VditFiles
import VditMedia
import VditModels
import VditTensor
import VditText

/// What gives a model the tokens of its pictures: the checkpoint's image encoder, and how that wants them.
public struct ImageEncoder: Sendable {
    private let encoder: CLIPVisionEncoder
    private let mean: [Double]
    private let deviation: [Double]
    /// The folder of its weights.
    let path: String

    /// - Parameters:
    ///   - folder: `config.json` and weights, `image_encoder/` of a model.
    ///   - processor: `preprocessor_config.json`, in the model's `image_processor/`.
    ///   - needs: of the transformer.
    /// - Throws: `FileError`, `TensorError` or `PipelineError` naming the file, and what of it cannot be served.
    init(folder: String, processor: String, for needs: ConditioningNeeds) throws {
        path = folder
        encoder = try CLIPVisionEncoder(folder: folder)
        let config = encoder.config
        // A model with places for tokens has them for two pictures.
        let tokens = needs.imageTokens.map { $0 / 2 } ?? config.tokens
        guard config.width == needs.imageWidth, config.tokens == tokens else {
            throw PipelineError.unsupported(
                folder, found: "an encoder of \(config.tokens) tokens of \(config.width) values",
                expected: "\(tokens) of \(needs.imageWidth ?? 0), which the transformer takes of a picture")
        }
        let values = try Processor(path: processor, side: config.side)
        (mean, deviation) = (values.mean, values.deviation)
    }

    /// The files, for records and fingerprints.
    var files: [WeightStore.FileIdentity] { encoder.files }

    func verifyUnchanged() throws(FileError) { try encoder.verifyUnchanged() }

    /// - Returns: `[pictures · tokens, width]` f32, the first picture's first.
    public func tokens(_ pictures: [VideoFrame], _ compute: ComputeContext) throws -> Tensor {
        let states = try encoder.encode(pictures.map(prepared), compute: compute)
        let joined = states.dropFirst().reduce(states[0]) { $0.followed(by: $1) }
        try verifyUnchanged()
        return joined
    }

    /// A picture as the encoder was trained on them: its middle square, normalised, `[3, side, side]` f32.
    ///
    /// - Source: transformers 5.23, `CLIPImageProcessor`.
    public func prepared(_ picture: VideoFrame) -> Tensor {
        let side = encoder.config.side
        let (short, long) = (min(picture.width, picture.height), max(picture.width, picture.height))
        let other = Int(Double(side * long) / Double(short))
        let isWide = picture.width > picture.height
        let square = picture.resized(width: isWide ? other : side, height: isWide ? side : other, by: .bicubic)
            .cropped(width: side, height: side)
        let values = Tensor(.f32, [3, side, side])
        square.pixels.withBytes { bytes in
            values.withMutableFloats { values in
                for colour in 0..<3 {
                    for pixel in 0..<side * side {
                        let value = Double(bytes[pixel * 3 + colour]) / 255
                        values[colour * side * side + pixel] = Float((value - mean[colour]) / deviation[colour])
                    }
                }
            }
        }
        return values
    }
}

/// What a `preprocessor_config.json` says of CLIP's pictures.
private struct Processor {
    let mean: [Double]
    let deviation: [Double]

    private struct Content: Decodable {
        let imageMean: [Double]
        let imageStd: [Double]
        let resample: Int?
        let rescaleFactor: Double?
        let doResize, doCenterCrop, doRescale, doNormalize: Bool?
        let size, cropSize: Side?
    }

    /// Written as a number, or as an object with the shortest edge or with height and width.
    private struct Side: Decodable {
        let pixels: [Int]

        init(from decoder: any Decoder) throws {
            let value = try decoder.singleValueContainer()
            if let side = try? value.decode(Int.self) {
                pixels = [side]
            } else {
                pixels = Array(try value.decode([String: Int].self).values)
            }
        }
    }

    /// - Parameter side: of the encoder's pictures.
    /// - Throws: `PipelineError.unsupported` (69) for a picture that is prepared in another way.
    init(path: String, side: Int) throws {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let content = try decodeJSON(Content.self, from: readSmallFile(path), path: path, decoder: decoder)
        func refuse(_ key: String, _ found: String, _ expected: String) -> PipelineError {
            .unsupported("\(path): \(key)", found: found, expected: expected)
        }
        for (key, value) in [
            ("do_resize", content.doResize), ("do_center_crop", content.doCenterCrop),
            ("do_rescale", content.doRescale), ("do_normalize", content.doNormalize),
        ] where value == false { throw refuse(key, "false", "true") }
        if let resample = content.resample, resample != 3 { throw refuse("resample", "\(resample)", "3, bicubic") }
        if let factor = content.rescaleFactor, abs(factor * 255 - 1) > 1e-6 {
            throw refuse("rescale_factor", "\(factor)", "1/255")
        }
        for (key, value) in [("size", content.size), ("crop_size", content.cropSize)] {
            if let value, value.pixels.contains(where: { $0 != side }) {
                throw refuse(key, "\(value.pixels)", "\(side), the encoder's")
            }
        }
        for (key, values) in [("image_mean", content.imageMean), ("image_std", content.imageStd)] {
            guard values.count == 3, key == "image_mean" || values.allSatisfy({ $0 > 0 }) else {
                throw refuse(key, "\(values)", "three numbers" + (key == "image_std" ? " above 0" : ""))
            }
        }
        (mean, deviation) = (content.imageMean, content.imageStd)
    }
}
