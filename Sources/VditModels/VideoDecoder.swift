import VditTensor

/// Turns latents into video, frame by frame. Sizes, work and memory are its `DecoderSpecification`'s to tell.
public protocol VideoDecoder: Sendable {
    /// Bytes of the packed weights.
    var weightBytes: Int { get }

    /// Decodes `[channels, frames, height, width]` f32 latents as the sampler leaves them (normalised).
    ///
    /// - Parameters:
    ///   - conditions: what decoders that are told a time, or draw noise, go by.
    ///   - onFrames: gets the next frames, each `[height, width, 3]` f32 in -1...1, R'G'B', as soon
    ///     as they are made; what it throws ends the decode.
    /// - Throws: `ModelError` when the latents do not have the decoder's channels, or what `onFrames` throws.
    func decode(_ latents: Tensor, _ conditions: DecodeConditions, onFrames: ([Tensor]) throws -> Void) throws
}

extension VideoDecoder {
    public func decode(_ latents: Tensor, onFrames: ([Tensor]) throws -> Void) throws {
        try decode(latents, DecodeConditions(), onFrames: onFrames)
    }
}

/// What a decode depends on beside the latents, where the decoder takes part in the sampling (LTX-Video).
public struct DecodeConditions: Sendable {
    /// The time the decoder is told, in 0…1.
    public var timestep: Double
    /// Share of noise that is mixed into the latents, in 0…1.
    public var noiseScale: Double
    public var noise: DecodeNoise

    /// - Source: the values that LTX-Video's authors recommend.
    public init(timestep: Double = 0.05, noiseScale: Double = 0.025, noise: DecodeNoise = .seed(0, drawn: [])) {
        self.timestep = timestep
        self.noiseScale = noiseScale
        self.noise = noise
    }
}

/// Where a decoder's noise comes from.
public enum DecodeNoise: Sendable {
    /// The generator of a seed, after draws of so many numbers.
    case seed(UInt64, drawn: [Int])
    /// One tensor for each draw, in order.
    case given([Tensor])
}

/// Standard normal numbers, one tensor after the other.
struct NoiseDraws {
    private var random: TorchRandom?
    private var given: ArraySlice<Tensor> = []

    init(_ noise: DecodeNoise) {
        switch noise {
        case .seed(let seed, let drawn):
            var generator = TorchRandom(seed: seed)
            for count in drawn { _ = generator.normal([count]) }
            random = generator
        case .given(let tensors): given = tensors[...]
        }
    }

    mutating func callAsFunction(_ shape: [Int]) -> Tensor {
        guard var generator = random else { return given.removeFirst().reshaped(shape) }
        defer { random = generator }
        return generator.normal(shape)
    }
}
