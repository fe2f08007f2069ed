import Glibc
import VditTensor

/// DPM-Solver++: a multistep exponential integrator of x0, orders 1 to 3.
///
/// - Source: Lu et al., "DPM-Solver++", arXiv 2211.01095; diffusers 0.42.1,
///   `DPMSolverMultistepScheduler` with flow prediction, whose schedule is still the one from 0.999 to 0.
public struct DPMSolverMultistep: Scheduler {
    public private(set) var steps: [Step]
    private let solverOrder: Int
    private let isHeun: Bool
    private let lowersFinalOrder: Bool

    /// x0 of the last steps, newest last.
    private var outputs: [Tensor] = []

    /// - Parameter steps: length of the loop, at least 1.
    public init(_ configuration: SchedulerConfiguration, steps: Int) {
        let train = Double(configuration.trainTimesteps)
        let levels = evenlySpaced(1, 1 / train, steps + 1).map { 1 - $0 }
        let sigmas = Array(shifted(levels, by: configuration.flowShift).reversed().dropLast())
        self.steps = schedule(
            sigmas: sigmas.map { Float($0) } + [0],
            timesteps: sigmas.map { Float(($0 * train).rounded(.towardZero)) })
        solverOrder = configuration.solverOrder
        isHeun = configuration.solverType == .heun
        lowersFinalOrder = configuration.lowerOrderFinal
    }

    public mutating func skip(_ count: Int) { steps = steps.numbered(from: count) }

    public mutating func advance(_ latents: Tensor, prediction: Tensor, at step: Step) -> Tensor {
        outputs.append(estimate(latents, prediction: prediction, at: step))
        if outputs.count > solverOrder { outputs.removeFirst() }
        var order = outputs.count
        if lowersFinalOrder, step.count < 15 { order = min(order, step.count - step.index) }
        if step.nextSigma == 0 { order = 1 }

        let level = logSignalToNoise(step.sigma)
        let distance = logSignalToNoise(step.nextSigma) - level
        let phi = expm1(-distance)
        let alpha = 1 - step.nextSigma
        func ratio(_ back: Int) -> Double {
            let newer = steps[step.index - back + 1].sigma
            let older = steps[step.index - back].sigma
            return (logSignalToNoise(newer) - logSignalToNoise(older)) / distance
        }

        // Weights of x0 and its first two differences, spread over the outputs, newest first.
        var weights = [-alpha * phi, 0, 0]
        if order == 2 {
            let first = (isHeun ? alpha * (phi / distance + 1) : -0.5 * alpha * phi) / ratio(1)
            weights[0] += first
            weights[1] -= first
        } else if order == 3 {
            let r0 = ratio(1), r1 = ratio(2)
            let first = alpha * (phi / distance + 1)
            let second = -alpha * ((phi + distance) / (distance * distance) - 0.5)
            let newer = (first * (1 + r0 / (r0 + r1)) + second / (r0 + r1)) / r0
            let older = -(first * r0 + second) / (r0 + r1) / r1
            weights[0] += newer
            weights[1] += older - newer
            weights[2] -= older
        }
        var terms: [(weight: Double, tensor: Tensor)] = [(step.nextSigma / step.sigma, latents)]
        for (output, weight) in zip(outputs.reversed(), weights) { terms.append((weight, output)) }
        return combination(terms)
    }

    public var history: SchedulerHistory {
        var history = SchedulerHistory()
        for (index, output) in outputs.enumerated() { history.tensors["output.\(index)"] = output }
        history.numbers = ["outputs": outputs.count]
        return history
    }

    public mutating func restore(
        _ history: SchedulerHistory, like latents: Tensor
    ) throws(PipelineError) {
        let count = try history.number("outputs", in: 0...solverOrder)
        outputs = []
        for index in 0..<count {
            outputs.append(try history.tensor("output.\(index)", like: latents))
        }
    }
}
