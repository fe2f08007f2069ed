import VditModels
import VditTensor

/// Parts of the loop that run on fewer latent pixels, `0.75:0.5` in writing: three quarters of height and width for the
/// first half of the steps. What follows the last part has the full size.
///
/// Most of a video's layout is decided where noise hides its details, at a fraction of the tokens. At a change of size
/// the clean video that the last output points to is resized, and noise of the next part's level is mixed into it.
/// - Source: Zhang et al., Training-Free Efficient Video Generation via Dynamic Token Carving (arXiv 2505.16864),
///   ProRes; large first, small between: Tian et al., Training-free Diffusion Acceleration with Bottleneck Sampling
///   (arXiv 2503.18940).
/// - Differs: a part ends with the step before the fraction, not with the one at it; the clean video is that of the
///   level its step had, not of the next part's; text is not amplified, which cross-attention to text alone would not
///   notice.
public struct SizeSchedule: WrittenValue, CustomStringConvertible {
    public struct Part: Sendable, Equatable {
        /// Of height and width, the full size being 1.
        public var scale: Double
        /// Where in the loop it ends.
        public var end: Double
    }

    public let parts: [Part]

    /// - Returns: nil where two parts that follow each other have one size, or a part ends before it begins.
    public init?(written text: String) {
        parts = text.split(separator: ",", omittingEmptySubsequences: false).compactMap { item in
            let numbers = item.split(separator: ":", omittingEmptySubsequences: false).map { Double($0) }
            guard numbers.count == 2, let scale = numbers[0], let end = numbers[1] else { return nil }
            return Part(scale: scale, end: end)
        }
        let (scales, ends) = (parts.map(\.scale) + [1], [0] + parts.map(\.end) + [1])
        guard parts.count == text.count(where: { $0 == "," }) + 1, scales.allSatisfy({ (0.1...1).contains($0) }),
            zip(scales, scales.dropFirst()).allSatisfy({ $0 != $1 }),
            zip(ends, ends.dropFirst()).allSatisfy({ $0 < $1 })
        else { return nil }
    }

    public var written: String { parts.map { "\($0.scale):\($0.end)" }.joined(separator: ",") }
    public var description: String { written }
    public static var kind: SettingKind {
        .written("sizes from 0.1 to 1 and where in the loop they end, such as 0.75:0.5 or 0.5:0.3,0.75:0.5")
    }

    /// Steps of every part, the one of full size last. Some may be empty.
    func steps(of count: Int) -> [Range<Int>] {
        let ends = parts.map { Int($0.end * Double(count)) }
        return zip([0] + ends, ends + [count]).map { $0..<$1 }
    }

    /// Latents of every part, rounded down to whole patches.
    func latents(of full: LatentShape, patch: (frames: Int, height: Int, width: Int)) -> [LatentShape] {
        func scaled(_ extent: Int, _ scale: Double, _ patch: Int) -> Int { Int(scale * Double(extent)) / patch * patch }
        return parts.map { part in
            var small = full
            small.height = scaled(full.height, part.scale, patch.height)
            small.width = scaled(full.width, part.scale, patch.width)
            return small
        } + [full]
    }

    /// Flow shifts where none are asked for: a larger size needs more noise to lose as much.
    ///
    /// - Source: the presets of Jenga.
    func shifts(from first: Double) -> [Double] {
        let scales = parts.map(\.scale) + [1]
        let steps = zip(scales, scales.dropFirst()).map { $0 < $1 ? 2.0 : 0 }
        return steps.indices.reduce(into: [first]) { $0.append($0[$1] + steps[$1]) }
    }
}

extension Setting<SizeSchedule?> {
    static let sizes = Setting(
        "sizes", .sampling, "sizes of the loop's first parts, over the full one, and where they end, such as 0.75:0.5",
        flag: SettingFlag(
            "0.75:0.5,…", "Sizes of the loop's first parts and where each ends: here, half of the steps at three "
                + "quarters of width and height."),
        rule: Rule<SizeSchedule?>.builtIn(nil).shown { $0 != nil }.checked { sizes, decision in
            guard let sizes else { return }
            func refuse(_ expected: String) -> PipelineError {
                .setting("sizes", found: sizes.written, expected: expected)
            }
            let sampler = decision.sampler.switched(to: decision.values.scheduler)
            guard decision.values.sigmas == nil, !sampler.kind.drawsNoise else {
                throw refuse("none with a list of steps or a sampler that adds noise: their levels have no other shift")
            }
            guard !sampler.invertSigmas else { throw refuse("none: this model's noise levels run from 0 to 1") }
            guard sampler.kind.prediction == .flow else { throw refuse("none: this model is no flow") }
            guard decision.values.video == nil else { throw refuse("none with a video to begin from") }
            let steps = decision.values.steps
            guard sizes.steps(of: steps).allSatisfy({ !$0.isEmpty }) else {
                throw refuse("parts of at least one of the \(steps) steps")
            }
            let model = decision.model
            let full = model.latentShape(
                width: decision.values.width, height: decision.values.height, numFrames: decision.values.numFrames)
            let small = sizes.latents(of: full, patch: model.transformer.patchExtents)
            guard small.allSatisfy({ $0.height > 0 && $0.width > 0 }) else {
                throw refuse("larger ones: \(full.height)x\(full.width) latent pixels are too few")
            }
        })
}

extension Setting<NumberList?> {
    static let sizeShifts = Setting(
        "size_shifts", .sampling, "flow shift at each of the sizes, the full one last",
        flag: SettingFlag("3,5,…", "Flow shift at each of the sizes. Default: the run's, and 2 more where they grow."),
        belongsTo: "sizes",
        rule: Rule<NumberList?>(
            standard: { decision in
                guard decision.sizeShiftRefusal == nil, let sizes = decision.values.sizes else {
                    return (nil, .builtIn, nil)
                }
                return (NumberList(sizes.shifts(from: decision.values.flowShift)), .builtIn, nil)
            }
        ).refused { $0.sizeShiftRefusal }.checked { shifts, decision in
            guard let shifts, let sizes = decision.values.sizes else { return }
            guard shifts.values.count == sizes.parts.count + 1,
                shifts.values.allSatisfy(SchedulerConfiguration.flowShifts.contains)
            else {
                throw PipelineError.setting(
                    "size_shifts", found: shifts.written,
                    expected: "\(sizes.parts.count + 1) numbers from 0.001 to 1000, one for each size")
            }
        }.shown { $0 != nil })
}

extension Decision {
    /// Why a run has no flow shifts by size.
    fileprivate var sizeShiftRefusal: String? {
        if values.sizes == nil { return "none without sizes" }
        return sampler.switched(to: values.scheduler).dynamicShift != nil && request.flowShift == nil
            ? "none: this model's shift follows the size" : nil
    }
}

/// Schedulers of one loop that take turns, each on latents of its own size.
struct SizedScheduler: Scheduler {
    struct Part {
        /// Of the whole loop.
        var scheduler: any Scheduler
        var steps: Range<Int>
        let latents: LatentShape
    }

    private(set) var steps: [Step] = []
    private var parts: [Part]
    /// The one at work.
    private var current = 0
    private let seed: UInt64

    /// - Parameters:
    ///   - parts: in order, their steps side by side.
    ///   - seed: of the start, behind which the noise of the other parts is drawn.
    init(_ parts: [Part], seed: UInt64) {
        (self.parts, self.seed) = (parts, seed)
        number()
    }

    /// A part's last step leads to the level that the next one begins at.
    private mutating func number() {
        let levels = parts.flatMap { part in part.steps.map { part.scheduler.steps[$0] } }
        steps = levels.enumerated().map { index, step in
            Step(
                index: index, count: levels.count, timestep: step.timestep, sigma: step.sigma,
                nextSigma: index + 1 < levels.count ? levels[index + 1].sigma : step.nextSigma)
        }
    }

    mutating func skip(_ count: Int) {
        for index in parts.indices {
            parts[index].scheduler.skip(count)
            let own = parts[index].steps
            parts[index].steps = max(0, own.lowerBound - count)..<max(0, own.upperBound - count)
        }
        number()
    }

    private func part(of step: Int) -> Int { parts.firstIndex { step < $0.steps.upperBound } ?? parts.count - 1 }

    func start(_ noise: Tensor) -> Tensor { parts[0].scheduler.start(noise) }

    func extents(_ start: [Int], after completed: Int) -> [Int] { parts[part(of: completed)].latents.extents }

    mutating func advance(_ latents: Tensor, prediction: Tensor, at step: Step) -> Tensor {
        let next = part(of: step.index + 1)
        if next == current { return parts[current].scheduler.advance(latents, prediction: prediction, at: step) }
        let clean = estimate(latents, prediction: prediction, at: step)
        current = next
        let resized = clean.resized(to: parts[next].latents)
        return combination([(1 - step.nextSigma, resized), (step.nextSigma, noise(next))])
    }

    func estimate(_ latents: Tensor, prediction: Tensor, at step: Step) -> Tensor {
        parts[part(of: step.index)].scheduler.estimate(latents, prediction: prediction, at: step)
    }

    /// What a part begins with: the seed's numbers behind those of the parts before it.
    private func noise(_ part: Int) -> Tensor {
        var random = TorchRandom(seed: seed)
        for earlier in parts[..<part] { _ = random.normal([1] + earlier.latents.extents) }
        return random.normal([1] + parts[part].latents.extents).reshaped(parts[part].latents.extents)
    }

    var history: SchedulerHistory {
        var history = parts[current].scheduler.history
        history.numbers["part"] = current
        return history
    }

    mutating func restore(_ history: SchedulerHistory, like latents: Tensor) throws(PipelineError) {
        current = try history.number("part", in: 0...parts.count - 1)
        try parts[current].scheduler.restore(history, like: latents)
    }
}

extension Tensor {
    /// Frames of `[channels, frames, height, width]` f32 at another size: linear between the centres of pixels, whose
    /// edges go on beyond them.
    ///
    /// - Source: `torch.nn.functional.interpolate(mode="trilinear", align_corners=False)` with the frames' number kept.
    func resized(to latents: LatentShape) -> Tensor {
        func places(_ from: Int, _ to: Int) -> [(low: Int, high: Int, part: Double)] {
            (0..<to).map { index in
                let place = max(0, (Double(index) + 0.5) * Double(from) / Double(to) - 0.5)
                let low = min(Int(place), from - 1)
                return (low, min(low + 1, from - 1), place - Double(low))
            }
        }
        let (height, width) = (shape[2], shape[3])
        let (rows, columns) = (places(height, latents.height), places(width, latents.width))
        let result = Tensor(.f32, [shape[0], shape[1], latents.height, latents.width])
        withFloats { values in
            result.withMutableFloats { output in
                var index = 0
                for plane in 0..<shape[0] * shape[1] {
                    for row in rows {
                        for column in columns {
                            func across(_ line: Int) -> Double {
                                let start = (plane * height + line) * width
                                return (1 - column.part) * Double(values[start + column.low])
                                    + column.part * Double(values[start + column.high])
                            }
                            output[index] = Float((1 - row.part) * across(row.low) + row.part * across(row.high))
                            index += 1
                        }
                    }
                }
            }
        }
        return result
    }
}
