import Glibc
import VditFiles
import VditModels
import VditTensor

/// Euler's method along a flow: x' = x + (sigma' − sigma) · v.
///
/// - Source: diffusers 0.42.1, `FlowMatchEulerDiscreteScheduler`.
public struct FlowMatchEuler: Scheduler {
    public private(set) var steps: [Step]

    /// - Parameters:
    ///   - steps: length of the loop, at least 1.
    ///   - tokens: video tokens, which a dynamic shift depends on.
    public init(
        _ configuration: SchedulerConfiguration, steps: Int, start: NoiseSpacing = .interpolated,
        tokens: Int = 0
    ) {
        let train = configuration.trainTimesteps
        var sigmas: [Float]
        switch start {
        case .interpolated:
            // diffusers makes the table of training levels in fp32 and interpolates between its ends in fp64.
            var ends: [Float] = [1, Float(1) / Float(train)]
            if configuration.dynamicShift == nil {
                ends = shifted(ends, by: Float(configuration.flowShift))
            }
            let raw = evenlySpaced(
                Double(ends[0]) * Double(train), Double(ends[1]) * Double(train), steps
            ).map { $0 / Double(train) }
            sigmas = Self.finish(raw, configuration, tokens: tokens).map { Float($0) }
        case .linearToZero:
            let raw = evenlySpaced(1.0, 0.0, steps + 1).dropLast().map { Float($0) }
            sigmas = Self.finish(raw, configuration, tokens: tokens)
        case .linearToLast:
            let raw = evenlySpaced(1.0, 1 / Double(steps), steps).map { Float($0) }
            sigmas = Self.finish(raw, configuration, tokens: tokens)
        case .linearQuadratic(let threshold):
            let raw = Self.linearQuadratic(steps, threshold: threshold).map { Float($0) }
            sigmas = Self.finish(raw, configuration, tokens: tokens)
        }
        if configuration.invertSigmas { sigmas = sigmas.map { 1 - $0 } }
        let timesteps = sigmas.map { $0 * Float(train) }
        sigmas.append(configuration.invertSigmas ? 1 : 0)
        self.steps = schedule(sigmas: sigmas, timesteps: timesteps)
    }

    /// Follows a list down to 0.
    public init(_ list: StepList) { steps = list.steps }

    private static func finish<Real: BinaryFloatingPoint>(
        _ sigmas: [Real], _ configuration: SchedulerConfiguration, tokens: Int
    ) -> [Real] {
        var sigmas = sigmas
        if let dynamic = configuration.dynamicShift {
            let factor = Real(dynamic.factor(tokens: tokens))
            sigmas = sigmas.map { factor / (factor + (1 / $0 - 1)) }
        } else {
            sigmas = shifted(sigmas, by: Real(configuration.flowShift))
        }
        return stretched(sigmas, to: configuration.shiftTerminal.map { Real($0) })
    }

    /// Source: genmo/mochi, `linear_quadratic_schedule`, as diffusers has it.
    private static func linearQuadratic(_ steps: Int, threshold: Double) -> [Double] {
        let linear = steps / 2
        let quadratic = steps - linear
        guard linear > 0 else { return [1] }
        let difference = Double(linear) - threshold * Double(steps)
        let square = difference / (Double(linear) * Double(quadratic) * Double(quadratic))
        let slope =
            threshold / Double(linear)
            - 2 * difference / (Double(quadratic) * Double(quadratic))
        let constant = square * Double(linear) * Double(linear)
        return (0..<steps).map { index in
            let place = Double(index)
            return index < linear
                ? 1 - place * threshold / Double(linear)
                : 1 - (square * place * place + slope * place + constant)
        }
    }

    public mutating func skip(_ count: Int) { steps = steps.numbered(from: count) }

    public mutating func advance(_ latents: Tensor, prediction: Tensor, at step: Step) -> Tensor {
        let distance = Float(step.nextSigma) - Float(step.sigma)
        return combination([(1, latents), (Double(distance), prediction)])
    }

    /// Mochi's inverted flow runs from noise at sigma 0 to the video at 1; others from 1 to 0.
    public func estimate(_ latents: Tensor, prediction: Tensor, at step: Step) -> Tensor {
        let end = (steps.last?.nextSigma ?? 0)
        return combination([(1, latents), (end - step.sigma, prediction)])
    }
}

/// A shift that grows with the number of video tokens.
public struct DynamicShift: Sendable, Equatable {
    public var baseShift = 0.5
    public var maxShift = 1.15
    public var baseTokens = 256
    public var maxTokens = 4096
    /// Whether the shift is the exponential of the interpolated value, or the value itself.
    public var isExponential = true

    public init() {}

    /// - Throws: `FileError.malformed` naming the key.
    init(_ file: ConfigFile) throws(FileError) {
        baseShift = try file.numberIfPresent("base_shift", -100...100) ?? baseShift
        maxShift = try file.numberIfPresent("max_shift", -100...100) ?? maxShift
        baseTokens = try file.integerIfPresent("base_image_seq_len", 0...1 << 40) ?? baseTokens
        maxTokens =
            try file.integerIfPresent("max_image_seq_len", baseTokens + 1...1 << 41) ?? maxTokens
        if try file.stringIfPresent("time_shift_type") != nil {
            let type = try file.string("time_shift_type", oneOf: ["exponential", "linear"])
            isExponential = type == "exponential"
        }
    }

    /// What takes the static shift's place.
    func factor(tokens: Int) -> Double {
        let slope = (maxShift - baseShift) / Double(maxTokens - baseTokens)
        let mu = Double(tokens) * slope + (baseShift - slope * Double(baseTokens))
        return isExponential ? exp(mu) : mu
    }
}
