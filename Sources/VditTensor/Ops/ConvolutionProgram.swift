/// One tile-shaped computation: inputs cut from frames, products of inputs and panels, outputs that sum
/// products. Temporal taps, the fast algorithm over time and the phases of an upsampling are all this.
public struct ConvolutionProgram: Sendable {
    /// `first + sign · second`; a missing frame counts as zeros.
    public struct Input: Sendable {
        public var first: Tensor?
        public var second: Tensor?
        public var sign: Float
        /// The kernel's upper left corner for output pixel (0, 0), relative to the frame's.
        public var top: Int
        public var left: Int

        public init(_ first: Tensor?, plus second: Tensor? = nil, sign: Float = 1, top: Int, left: Int) {
            self.first = first
            self.second = second
            self.sign = sign
            self.top = top
            self.left = left
        }
    }

    public struct Product: Sendable {
        public var input: Int
        public var panel: Int

        public init(input: Int, panel: Int) {
            self.input = input
            self.panel = panel
        }
    }

    /// What is added to an output.
    public enum Addend: Sendable {
        case none
        /// A frame of the output's shape, f32.
        case frame(Tensor)
        /// Channel `table[c]` of the pixel of a frame at the products' resolution, f32.
        case channels(Tensor, table: [Int32])
    }

    /// Numbers of a plane, the same for all channels but for a scale, that are added to an output.
    public struct Noise: Sendable {
        /// `[height, width]` f32 of the products.
        public var plane: Tensor
        /// `[outChannels]` f32.
        public var scale: Tensor

        public init(plane: Tensor, scale: Tensor) {
            self.plane = plane
            self.scale = scale
        }
    }

    public struct Output: Sendable {
        /// Products: `terms[0] + sign · (terms[1] + terms[2])`.
        public var terms: [Int]
        public var sign: Float
        /// `[outChannels]` f32.
        public var bias: Tensor?
        public var addend: Addend
        public var noise: Noise?
        public var target: FrameTarget
        /// Output pixels are `scale` apart in the target, starting at (`row`, `column`).
        public var scale: Int
        public var row: Int
        public var column: Int

        public init(
            terms: [Int], sign: Float = 1, bias: Tensor?, addend: Addend = .none, noise: Noise? = nil,
            target: FrameTarget, scale: Int = 1, row: Int = 0, column: Int = 0
        ) {
            self.terms = terms
            self.sign = sign
            self.bias = bias
            self.addend = addend
            self.noise = noise
            self.target = target
            self.scale = scale
            self.row = row
            self.column = column
        }
    }

    public var inputs: [Input]
    public var products: [Product]
    public var outputs: [Output]

    public init(inputs: [Input], products: [Product], outputs: [Output]) {
        self.inputs = inputs
        self.products = products
        self.outputs = outputs
    }
}
