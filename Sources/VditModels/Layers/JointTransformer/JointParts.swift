import VditAttention
import VditTensor

/// What a family of `JointTransformer` is in code: what becomes of prompt and time in front of the blocks, and which
/// weights its blocks have.
protocol JointParts: Sendable {
    associatedtype Config: JointTransformerConfig
    /// All of a prompt that stays from step to step.
    associatedtype Prompt: PreparedConditioning

    /// Of the patch embedding.
    static var patchName: String { get }

    /// Packs what is in front of the blocks.
    init(_ config: Config, _ loader: WeightLoader, _ compute: ComputeContext) throws(TensorError)

    /// - Parameters:
    ///   - name: of the block.
    ///   - loader: of its linear layers; what modulates rows stays out of int8 and takes `loader.unquantised`.
    static func block(
        _ config: Config, _ index: Int, _ name: String, _ loader: WeightLoader
    ) throws(TensorError) -> JointBlock

    /// What the last rows go through.
    static func head(_ config: Config, _ loader: WeightLoader) throws(TensorError) -> JointHead

    /// - Throws: `ModelError` for what this model cannot be conditioned on, beyond what every family checks.
    func prepare(_ conditioning: Conditioning) throws -> Prompt

    /// Times of the tokens: one for all, or one for each of the video's. The last one's is the text's too.
    func times(_ timesteps: [Float], _ layout: TokenLayout) -> [Float]

    /// The vector that modulates at a time, `[1, width]` f32.
    ///
    /// - Parameter isText: whether the text's rows are at this time too; false for those of a picture.
    func vector(_ timestep: Float, isText: Bool, _ prompt: Prompt, _ trace: Trace?) throws(TensorError) -> Tensor

    /// The text's rows in front of the first block, `[tokens, textWidth]` f32.
    func text(_ timestep: Float, _ prompt: Prompt, _ trace: Trace?) throws -> Tensor

    /// What tells the video's tokens where they are.
    func positions(_ layout: TokenLayout) -> JointPositions
}

extension JointParts {
    func times(_ timesteps: [Float], _ layout: TokenLayout) -> [Float] { timesteps }
}

/// What tells the video's tokens where they are.
struct JointPositions: Sendable {
    /// `[tokens, inner]` f32, added to the embedded patches.
    var added: Tensor?
    /// Turns queries and keys.
    var turning: RotaryTable?
}

/// What takes the last rows to the model's output: a norm modulated by the text's time, and a projection.
struct JointHead: Sendable {
    /// In front of the modulated norm, for families that have two.
    var first: (weights: NormWeights, epsilon: Float)?
    /// Of the modulated norm.
    var weights: NormWeights?
    let epsilon: Float
    /// To shift and scale, each as wide as the rows.
    let modulator: Linear
    /// Which of the two is the scale.
    let scaleIndex: Int
    let projection: Linear
    let order: PatchGrid.ChannelOrder

    /// - Parameter activated: `[1, width]` f32, the vector after SiLU.
    func modulation(_ activated: Tensor) throws(TensorError) -> Modulation.Part {
        let both = try modulator.product(of: activated).reshaped([2, modulator.outputs / 2])
        return .folded(scale: both[scaleIndex].floats(), shift: both[1 - scaleIndex].floats(), weights)
    }
}
