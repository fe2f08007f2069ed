import Glibc
import VditFiles
import VditModels

/// How a published distilled model is sampled: rule, list of steps, no guidance.
///
/// - Source: the code of LightX2V, Wan2.2-Lightning, FastVideo, CausVid, rCM, TurboDiffusion and LTX-Video.
public struct FewStep: Sendable, Equatable {
    /// The name `--few-step` knows it by.
    public let name: String
    /// `euler` or `renoise`.
    public let rule: SchedulerConfiguration.Kind
    /// The models it was made for.
    public let summary: String
    let places: Places

    /// The places of the loop, before a shift where one applies.
    enum Places: Sendable, Equatable {
        /// Training steps, and the shift they are used with unless a run asks for another.
        case shifted([Double], by: Double)
        /// Times and levels that nothing shifts.
        case fixed(StepList)
        /// The scheduler's own spacing, of as many steps as a run asks for.
        case spaced(count: Int)
    }

    /// Every name, in the order they are listed to a person.
    public static let table: [FewStep] = [
        FewStep(
            "lightx2v-4", .euler, "LightX2V step distillation of Wan2.1 14B and Wan2.2 A14B",
            .shifted([1000, 750, 500, 250], by: 5)),
        FewStep("lightx2v-2", .euler, "the same in two steps", .shifted([1000, 500], by: 5)),
        FewStep(
            "lightning-4", .euler, "Wan2.2-Lightning: two steps by either expert",
            .shifted([1000, 750, 500, 250], by: 5)),
        FewStep(
            "fastwan-3", .renoise, "FastWan 1.3B, 14B and 5B; CausVid bidirectional 1.3B",
            .fixed(StepList(nearest: [1000, 757, 522], ofTableShiftedBy: 8))),
        FewStep(
            "selfforcing-4", .renoise, "Self-Forcing-Plus 14B, bidirectional",
            .shifted([1000, 750, 500, 250], by: 5)),
    ] + (1...4).map { count in
        FewStep(
            "rcm-\(count)", .renoise, "rCM of Wan2.1, \(count == 1 ? "one step" : "\(count) steps")",
            .fixed(StepList(angles: Array([atan(80), 1.5, 1.4, 1.0].prefix(count)))))
    } + [
        FewStep("lcm", .renoise, "latent consistency: the scheduler's own spacing", .spaced(count: 4)),
        FewStep(
            "ltx-0.9.8", .euler, "LTX-Video 0.9.8 distilled, the first of two passes",
            .fixed(StepList(levels: [1, 0.9937, 0.9875, 0.9812, 0.975, 0.9094, 0.725]))),
        FewStep(
            "ltx-0.9.7", .euler, "LTX-Video 0.9.7 distilled in one pass",
            .fixed(StepList(levels: [1, 0.993, 0.987, 0.981, 0.975, 0.909, 0.725, 0.00003]))),
        FewStep(
            "ltx-0.9.6", .renoise, "LTX-Video 0.9.6 distilled",
            .fixed(StepList(levels: [1, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875]))),
    ]

    private init(
        _ name: String, _ rule: SchedulerConfiguration.Kind, _ summary: String, _ places: Places
    ) {
        self.name = name
        self.rule = rule
        self.summary = summary
        self.places = places
    }

    /// - Throws: `PipelineError.setting` with the nearest name.
    public init(named name: String) throws(PipelineError) {
        guard let row = Self.table.first(where: { $0.name == name }) else {
            throw .setting(
                "few_step", found: name, expected: expectedNames(Self.table.map(\.name), insteadOf: name))
        }
        self = row
    }

    /// The list of a run; nil where the scheduler spaces the steps itself.
    ///
    /// - Parameter shift: replaces the usual one.
    /// - Throws: `PipelineError.setting` for a shift of a list that has none, or one out of range.
    public func list(shift: Double? = nil) throws(PipelineError) -> StepList? {
        switch places {
        case .shifted(let steps, let usual):
            return try StepList(trainingSteps: steps, shift: shift ?? usual)
        case .fixed(let list):
            if let shift {
                throw .setting(
                    "flow_shift", found: "\(shift)", expected: "none: the levels of \(name) are fixed")
            }
            return list
        case .spaced:
            return nil
        }
    }

    /// The shift that is usual with it; nil where levels are fixed or the model's holds.
    public var flowShift: Double? { if case .shifted(_, let shift) = places { shift } else { nil } }

    /// Steps of its loop.
    public var steps: Int {
        switch places {
        case .shifted(let steps, _): steps.count
        case .fixed(let list): list.sigmas.count
        case .spaced(let count): count
        }
    }
}

extension ModelDefaults {
    /// Transformer calls of a video as the model's authors recommend it.
    ///
    /// - Throws: an error that conforms to `Failure` for a few-step sampling that nobody knows.
    public var calls: Int { get throws { try fewStep.map { try FewStep(named: $0).steps } ?? undistilledCalls } }

    /// The same had it not been distilled.
    public var undistilledCalls: Int { guidanceScale == 1 ? steps : 2 * steps }
}
