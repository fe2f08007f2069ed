import Glibc
import VditFiles
import VditTensor

/// Sizes of a T5 or UMT5 encoder.
struct T5EncoderConfig: Sendable, Equatable {
    let name: String
    let vocabularySize: Int
    let width: Int
    let headDim: Int
    let heads: Int
    let feedForward: Int
    let layers: Int
    let distances: DistanceBuckets
    /// Every layer has a bias table of its own; otherwise all use the first's.
    let hasBiasPerLayer: Bool
    let epsilon: Float
    let endID: Int?

    /// Width of all heads together, which may differ from `width`.
    var inner: Int { heads * headDim }

    var kind: TextModelFolder.Kind { hasBiasPerLayer ? .umt5 : .t5 }

    func hasBias(_ layer: Int) -> Bool { layer == 0 || hasBiasPerLayer }

    /// - Throws: `FileError.malformed` naming the key.
    init(_ file: ConfigFile) throws(FileError) {
        let type = try file.string("model_type", oneOf: ["t5", "umt5"])
        _ = try file.string("feed_forward_proj", oneOf: ["gated-gelu"])
        hasBiasPerLayer = type == "umt5"
        vocabularySize = try file.integer("vocab_size", 1...1 << 24)
        width = try file.integer("d_model", 1...1 << 16)
        headDim = try file.integer("d_kv", 1...256)
        heads = try file.integer("num_heads", 1...1024)
        feedForward = try file.integer("d_ff", 1...1 << 18)
        layers = try file.integer("num_layers", 1...1024)
        distances = DistanceBuckets(
            count: try file.integerIfPresent("relative_attention_num_buckets", 4...65536) ?? 32,
            maxDistance: try file.integerIfPresent("relative_attention_max_distance", 2...1 << 20) ?? 128)
        if distances.count % 4 != 0 || distances.maxDistance <= distances.count / 4 {
            throw .malformed(
                path: file.path, field: "relative_attention_num_buckets", found: "\(distances.count)",
                expected: "a multiple of 4 below four times relative_attention_max_distance, \(distances.maxDistance)")
        }
        epsilon = Float(try file.numberIfPresent("layer_norm_epsilon", 0...1) ?? 1e-6)
        endID = try file.integerIfPresent("eos_token_id", 0...1 << 24)
        name = type + (width == 4096 && layers == 24 ? "-xxl" : "")
    }

    /// The configuration of a file that comes without one, its sizes read off its tensors.
    ///
    /// - Parameter shapes: by the names of transformers.
    /// - Returns: nil when they are no encoder's.
    init?(_ shapes: TensorShapes) {
        let names = T5WeightNames()
        func matrix(_ name: String) -> (rows: Int, columns: Int)? {
            shapes[name].flatMap { $0.count == 2 && $0[0] > 0 && $0[1] > 0 ? ($0[0], $0[1]) : nil }
        }
        let first = names.layer(0)
        guard let embedding = matrix(names.embedding) ?? matrix("encoder.embed_tokens.weight"),
            let bias = matrix(first.bias), let query = matrix(first.query), let gate = matrix(first.gate),
            query.rows % bias.columns == 0, bias.rows % 4 == 0, 4...256 ~= bias.rows,
            1...256 ~= query.rows / bias.columns
        else { return nil }
        layers = shapes.count("encoder.block.")
        hasBiasPerLayer = layers == 1 || shapes[names.layer(1).bias] != nil
        (vocabularySize, width) = (embedding.rows, embedding.columns)
        (heads, headDim, feedForward) = (bias.columns, query.rows / bias.columns, gate.rows)
        distances = DistanceBuckets(count: bias.rows, maxDistance: 128)
        epsilon = 1e-6
        endID = 1
        name = (hasBiasPerLayer ? "umt5" : "t5") + (width == 4096 && layers == 24 ? "-xxl" : "")
    }
}

/// Which row of a bias table the distance from a query to a key has: exact when short, logarithmic when long.
public struct DistanceBuckets: Sendable, Equatable {
    public let count: Int
    public let maxDistance: Int

    public init(count: Int, maxDistance: Int) {
        self.count = count
        self.maxDistance = maxDistance
    }

    /// - Parameter distance: position of the key less that of the query.
    public func bucket(_ distance: Int) -> Int {
        let half = count / 2
        let exact = half / 2
        let length = abs(distance)
        var bucket = length
        if length >= exact {
            let octaves = log(Double(length) / Double(exact)) / log(Double(maxDistance) / Double(exact))
            bucket = min(exact + Int(octaves * Double(half - exact)), half - 1)
        }
        return bucket + (distance > 0 ? half : 0)
    }

    /// A head's biases for all distances between `tokens` tokens, from the most negative on: `[2 · tokens − 1]` f32.
    ///
    /// - Parameter table: `[count, heads]` f32.
    func bias(_ table: Tensor, head: Int, tokens: Int, _ scratch: Scratch) -> Tensor {
        let bias = scratch.tensor(.f32, [2 * tokens - 1])
        let heads = table.columns
        table.withFloats { table in
            bias.withMutableFloats { bias in
                for index in bias.indices { bias[index] = table[bucket(index - (tokens - 1)) * heads + head] }
            }
        }
        return bias
    }
}
