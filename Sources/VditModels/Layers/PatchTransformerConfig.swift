import VditAttention
import VditTensor

/// A transformer of blocks over patches of latents, as its configuration states it.
public protocol PatchTransformerConfig: TransformerSpecification {
    var inChannels: Int { get }
    var outChannels: Int { get }
    /// Patch extents: frames, height, width.
    var patch: [Int] { get }
    /// What precedes the names of each block's tensors, in the order the blocks run.
    var blockNames: [String] { get }
    /// Whether a block keeps a matrix in the run's precision: not one that prompts alone need, nor one of fp32.
    func isKeptMatrix(_ name: String) -> Bool
}

extension PatchTransformerConfig {
    /// Width of the residual stream.
    public var inner: Int { heads * headDim }
    var patchSize: Int { patch.reduce(1, *) }

    public var inputChannels: Int { inChannels }
    public var outputChannels: Int { outChannels }
    public var patchExtents: (frames: Int, height: Int, width: Int) { (patch[0], patch[1], patch[2]) }

    /// Residual fp32; q, k, v and their packed copies; the output.
    public func activationBytes(_ layout: TokenLayout, operand: DType) -> Int {
        layout.tokens * inner * (4 + 7 * operand.byteCount)
    }

    public func isKeptMatrix(_ name: String) -> Bool { true }

    /// The matrices of all blocks but the first and the last; what modulates rows is none of them.
    public var int8ParameterCount: Int {
        let inside = Set(blockNames.dropFirst().dropLast())
        return tensors.reduce(0) { sum, tensor in
            guard tensor.shape.count == 2, tensor.name.hasSuffix(".weight"), !tensor.name.contains(".norm"),
                isKeptMatrix(tensor.name),
                let block = Self.block(of: tensor.name), inside.contains(block)
            else { return sum }
            return sum + tensor.shape.reduce(1, *)
        }
    }

    /// The first two words of a name, which are a block's where it has a number.
    static func block(of name: String) -> String? {
        let words = name.split(separator: ".", maxSplits: 2)
        return words.count == 3 && Int(words[1]) != nil ? "\(words[0]).\(words[1])" : nil
    }

    /// Tokens along each axis.
    ///
    /// - Parameter most: along each, where there are no positions for more.
    /// - Throws: `ModelError.invalid` naming the axis that does not divide by the patch or exceeds the positions.
    func tokenExtents(_ latents: LatentShape, atMost most: [Int]? = nil) throws(ModelError) -> [Int] {
        var extents: [Int] = []
        for (axis, (name, extent)) in [
            ("frames", latents.frames), ("height", latents.height), ("width", latents.width),
        ].enumerated() {
            guard extent > 0, extent % patch[axis] == 0 else {
                throw .invalid(
                    "latent \(name)", found: "\(extent)", expected: "a positive multiple of \(patch[axis])",
                    kind: .badData)
            }
            extents.append(extent / patch[axis])
            if let most = most?[axis], extents[axis] > most {
                throw .invalid(
                    "latent \(name)", found: "\(extent)",
                    expected: "at most \(most * patch[axis]), the positions of the rotary embedding", kind: .badData)
            }
        }
        return extents
    }
}

/// Names and shapes of a checkpoint's tensors, as they are listed.
struct TensorList {
    private(set) var all: [(name: String, shape: [Int])] = []

    mutating func add(_ name: String, _ shape: [Int]) { all.append((name, shape)) }

    mutating func linear(_ name: String, _ inputs: Int, _ outputs: Int) {
        add(name + ".weight", [outputs, inputs])
        add(name + ".bias", [outputs])
    }

    mutating func affine(_ name: String, _ size: Int) {
        add(name + ".weight", [size])
        add(name + ".bias", [size])
    }

    /// Self- or cross-attention of rows of `width`, with the norm of queries and keys.
    mutating func attention(_ name: String, _ width: Int, context: Int? = nil) {
        for part in ["to_q", "to_k", "to_v", "to_out.0"] {
            linear("\(name).\(part)", part == "to_k" || part == "to_v" ? context ?? width : width, width)
        }
        add("\(name).norm_q.weight", [width])
        add("\(name).norm_k.weight", [width])
    }
}
