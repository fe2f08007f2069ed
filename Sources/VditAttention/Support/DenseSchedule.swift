/// Which calls stay dense whatever the method: the first steps, where the picture takes shape, and the first
/// layers. By step index, never by timestep.
public struct DenseSchedule: Sendable, Equatable {
    public enum Steps: Sendable, Equatable {
        case count(Int)
        /// Of the loop's steps, rounded down; in 0…1.
        case fraction(Double)

        /// How many of a loop's steps.
        func count(of steps: Int) -> Int {
            switch self {
            case .count(let count): min(count, steps)
            case .fraction(let fraction): min(Int((fraction * Double(steps)).rounded(.down)), steps)
            }
        }
    }

    public var steps: Steps
    /// Number of transformer blocks, from the first one on.
    public var layers: Int

    public init(steps: Steps = .count(0), layers: Int = 0) {
        self.steps = steps
        self.layers = layers
    }

    /// How many of a loop's steps are dense.
    public func denseSteps(of steps: Int) -> Int { self.steps.count(of: steps) }

    public func isDense(step: Int, of steps: Int) -> Bool { step < denseSteps(of: steps) }
    public func isDense(layer: Int) -> Bool { layer < layers }
}

extension DenseSchedule {
    static let stepsOption = MethodOption(
        "dense-steps", .steps, default: .count(0), "first steps computed densely")
    static let layersOption = MethodOption(
        "dense-layers", .integer(0...1000), default: 0, "first transformer blocks computed densely")

    /// The options that say which calls stay dense, with a method's defaults, and which have another density.
    static func options(steps: Steps, layers: Int) -> [any AnyMethodOption] {
        [stepsOption.standing(at: steps), layersOption.standing(at: layers)] + DensitySchedule.options
    }
}
