import VditModels
import VditTensor

/// Where the noise comes from that a sampler adds from step to step, or that a picture is shown in.
public enum StepNoise: Sendable {
    /// The run's seed. Draw i is what a fresh generator gives after i whole latents, draw 0 being the start: a resumed
    /// run and a preview meet the same noise.
    case seed(UInt64, DrawOrder = .channelsFirst)
    /// What a generator goes on with: draw 0 is its next.
    case after(TorchRandom)
    /// One tensor for each step that adds some, in the latents' shape.
    case given([Tensor])
}

/// The noise a step adds, whatever was drawn before: a restored scheduler catches up by itself.
struct StepNoiseSource: Sendable {
    private let noise: StepNoise
    /// Where it is drawn, how far that is.
    private var drawn: NumberedNoise?

    init(_ noise: StepNoise) { self.noise = noise }

    /// - Parameters:
    ///   - number: of the seed's draws.
    ///   - shape: of the latents.
    mutating func callAsFunction(_ number: Int, at step: Step, _ shape: [Int]) -> Tensor {
        var draws: NumberedNoise
        switch noise {
        case .given(let tensors): return tensors[step.index]
        case .seed(let seed, let order): draws = drawn ?? NumberedNoise(TorchRandom(seed: seed), order)
        case .after(let random): draws = drawn ?? NumberedNoise(random)
        }
        defer { drawn = draws }
        return draws(number, shape)
    }
}

/// Draws of one shape by number, whatever was drawn before.
struct NumberedNoise: Sendable {
    private let start: TorchRandom
    private let order: DrawOrder
    private var random: TorchRandom
    private var drawn = 0

    /// - Parameter start: the generator in front of draw 0.
    init(_ start: TorchRandom, _ order: DrawOrder = .channelsFirst) {
        (self.start, self.order, random) = (start, order, start)
    }

    mutating func callAsFunction(_ number: Int, _ shape: [Int]) -> Tensor {
        if drawn > number { (random, drawn) = (start, 0) }
        while drawn < number {
            _ = random.normal(shape)
            drawn += 1
        }
        drawn += 1
        return random.normal(shape, order)
    }
}

extension TorchRandom {
    /// Standard normal numbers of latents `[channels, frames, height, width]`, drawn in an order of axes.
    mutating func normal(_ shape: [Int], _ order: DrawOrder) -> Tensor {
        if order == .channelsFirst { return normal(shape) }
        let drawn = normal([shape[1], shape[0]] + shape.dropFirst(2))
        let result = Tensor(.f32, shape)
        for channel in 0..<shape[0] {
            for frame in 0..<shape[1] { result[channel][frame].assign(drawn[frame][channel]) }
        }
        return result
    }
}
