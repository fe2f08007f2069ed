import Glibc
import VditTensor

/// UniPC: a multistep predictor whose every step is corrected by the next model output.
///
/// Flow prediction of x0, solver functions B(h) = h (bh1) or e^h − 1 (bh2), orders 1 to 3.
/// - Source: Zhao et al., "UniPC", arXiv 2302.04867; diffusers 0.42.1, `UniPCMultistepScheduler`.
/// - Differs: the step to sigma 0 is of order 1 whatever the settings; the reference gives NaN there with
///   bh1 or without `lower_order_final`.
public struct UniPCMultistep: Scheduler {
    /// How the unshifted noise levels are spaced.
    public enum Spacing: String, Sendable, CaseIterable, Codable {
        /// 1 to 1/1000: diffusers since January 2026 (pull request 12109).
        case current
        /// 0.999 to 0: the original Wan sampler and earlier diffusers.
        case original
    }

    public private(set) var steps: [Step]
    private let solverOrder: Int
    private let usesExponential: Bool
    private let lowersFinalOrder: Bool
    private let uncorrected: Set<Int>

    /// x0 of the last steps, newest last; the latents the last predictor started from, and its order.
    private var outputs: [Tensor] = []
    private var lastSample: Tensor?
    private var lastOrder = 0

    /// - Parameter steps: length of the loop, at least 1.
    public init(_ configuration: SchedulerConfiguration, steps: Int) {
        let train = Double(configuration.trainTimesteps)
        let ends: (Double, Double) =
            switch configuration.spacing {
            case .current: (1, 1 / train)
            case .original: (1 - 1 / train, 0)
            }
        var sigmas = shifted(
            Array(evenlySpaced(ends.0, ends.1, steps + 1).dropLast()), by: configuration.flowShift)
        sigmas = stretched(sigmas, to: configuration.shiftTerminal)
        // ln(1 − sigma) must be finite.
        if abs(sigmas[0] - 1) < 1e-6 { sigmas[0] -= 1e-6 }
        // The model sees whole timesteps, cut off and not rounded; the solver the exact levels, in fp32.
        self.steps = schedule(
            sigmas: sigmas.map { Float($0) } + [0],
            timesteps: sigmas.map { Float(($0 * train).rounded(.towardZero)) })
        solverOrder = configuration.solverOrder
        usesExponential = configuration.solverType != .bh1
        lowersFinalOrder = configuration.lowerOrderFinal
        uncorrected = Set(configuration.disableCorrector)
    }

    public mutating func skip(_ count: Int) { steps = steps.numbered(from: count) }

    public mutating func advance(_ latents: Tensor, prediction: Tensor, at step: Step) -> Tensor {
        let clean = estimate(latents, prediction: prediction, at: step)
        var sample = latents
        if step.index > 0, !uncorrected.contains(step.index - 1), let lastSample {
            sample = solve(
                from: step.index - 1, to: step.sigma, order: lastOrder, sample: lastSample,
                target: clean)
        }
        outputs.append(clean)
        if outputs.count > solverOrder { outputs.removeFirst() }
        var order = min(outputs.count, solverOrder)
        if lowersFinalOrder { order = min(order, step.count - step.index) }
        if step.nextSigma == 0 { order = 1 }
        lastSample = sample
        lastOrder = order
        return solve(from: step.index, to: step.nextSigma, order: order, sample: sample, target: nil)
    }

    /// One update from the step `start` to noise level `sigma`: the predictor, or, when x0 at the target is
    /// already known, the corrector.
    private func solve(
        from start: Int, to sigma: Double, order: Int, sample: Tensor, target: Tensor?
    ) -> Tensor {
        let origin = steps[start].sigma
        let originLevel = logSignalToNoise(origin)
        let distance = logSignalToNoise(sigma) - originLevel
        let phi = expm1(-distance)
        let alpha = 1 - sigma

        // Places of the earlier outputs, and of the target, in units of the step.
        var places: [Double] = (1..<max(order, 1)).map { back in
            (logSignalToNoise(steps[start - back].sigma) - originLevel) / distance
        }
        if target != nil { places.append(1) }
        let weights = Self.weights(places, distance: distance, usesExponential: usesExponential)
        let scale = -alpha * (usesExponential ? phi : -distance)

        // Σ weight · (output − newest) / place, gathered by tensor.
        let newest = outputs[outputs.count - 1]
        var newestWeight = -alpha * phi
        var terms: [(weight: Double, tensor: Tensor)] = [(sigma / origin, sample)]
        for (index, weight) in weights.enumerated() {
            let share = scale * weight / places[index]
            let output = index == order - 1 ? target : outputs[outputs.count - 2 - index]
            guard let output else { continue }
            newestWeight -= share
            terms.append((share, output))
        }
        terms.append((newestWeight, newest))
        return combination(terms)
    }

    /// Weights rho of the differences: the solution of Σ_k place_k^i · rho_k = b_i, i = 0, 1, …
    private static func weights(
        _ places: [Double], distance: Double, usesExponential: Bool
    ) -> [Double] {
        let count = places.count
        if count == 0 { return [] }
        // The reference replaces a single weight by its limit.
        if count == 1 { return [0.5] }
        let hh = -distance
        let base = usesExponential ? expm1(hh) : hh
        var term = expm1(hh) / hh - 1
        var factorial = 1.0
        var right: [Double] = []
        for index in 0..<count {
            right.append(term * factorial / base)
            factorial *= Double(index + 2)
            term = term / hh - 1 / factorial
        }
        return solveVandermonde(places, right)
    }

    public var history: SchedulerHistory {
        var history = SchedulerHistory()
        for (index, output) in outputs.enumerated() { history.tensors["output.\(index)"] = output }
        history.tensors["last_sample"] = lastSample
        history.numbers = ["outputs": outputs.count, "last_order": lastOrder]
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
        lastSample = count == 0 ? nil : try history.tensor("last_sample", like: latents)
        lastOrder = try history.number("last_order", in: 0...count)
    }
}

/// Solves Σ_k place_k^i · x_k = right_i for distinct places (at most three of them).
func solveVandermonde(_ places: [Double], _ right: [Double]) -> [Double] {
    let count = places.count
    var rows = (0..<count).map { row in
        places.map { pow($0, Double(row)) } + [right[row]]
    }
    for column in 0..<count {
        let pivot = (column..<count).max { abs(rows[$0][column]) < abs(rows[$1][column]) } ?? column
        rows.swapAt(column, pivot)
        for row in 0..<count where row != column {
            let factor = rows[row][column] / rows[column][column]
            for index in column...count { rows[row][index] -= factor * rows[column][index] }
        }
    }
    return (0..<count).map { rows[$0][count] / rows[$0][$0] }
}

extension SchedulerHistory {
    func number(_ name: String, in range: ClosedRange<Int>) throws(PipelineError) -> Int {
        guard let value = numbers[name], range.contains(value) else {
            throw .invalid(
                "scheduler history: \(name)", found: numbers[name].map(String.init) ?? "nothing",
                expected: "\(range.lowerBound) to \(range.upperBound)", kind: .badData)
        }
        return value
    }

    func tensor(_ name: String, like latents: Tensor) throws(PipelineError) -> Tensor {
        guard let tensor = tensors[name], tensor.dtype == .f32, tensor.shape == latents.shape else {
            throw .invalid(
                "scheduler history: \(name)",
                found: tensors[name].map { "\($0.dtype.rawValue) \($0.shape)" } ?? "nothing",
                expected: "F32 \(latents.shape)", kind: .badData)
        }
        return tensor
    }
}
