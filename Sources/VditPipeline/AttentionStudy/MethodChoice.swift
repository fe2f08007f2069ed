import VditAttention

/// A sparse method as a command names it.
public struct MethodChoice: Sendable, Equatable {
    public var name: String
    public var options: [String: String]
    public var density: Double?

    public init(_ name: String, options: [String: String] = [:], density: Double? = nil) {
        self.name = name
        self.options = options
        self.density = density
    }

    /// As a render has it: with the family's preset.
    ///
    /// - Throws: what `MethodCatalogue.make` throws.
    public func configured() throws(AttentionError) -> ConfiguredMethod {
        try MethodCatalogue.make(name: name, options: options, density: density, family: "wan")
    }

    /// The same without dense steps and layers but those that were asked for, so that the method itself runs.
    public func configuredWithoutWarmUp() throws(AttentionError) -> ConfiguredMethod {
        var alone = self
        alone.options = try MethodCatalogue.withoutWarmUp(options, of: name)
        return try alone.configured()
    }
}

/// A token grid from outside, checked.
///
/// - Throws: `PipelineError.invalid` (64) for extents that are no size.
public func tokenLayout(
    frames: Int, height: Int, width: Int, textBefore: Int = 0, textAfter: Int = 0
) throws(PipelineError) -> TokenLayout {
    func check(_ name: String, _ value: Int, _ least: Int) throws(PipelineError) {
        guard (least...1 << 20).contains(value) else {
            throw .invalid(name, found: "\(value)", expected: "\(least) to \(1 << 20)", kind: .usage)
        }
    }
    try check("frames", frames, 1)
    try check("height", height, 1)
    try check("width", width, 1)
    try check("text tokens before", textBefore, 0)
    try check("text tokens after", textAfter, 0)
    // Each is at most 2^20, so no product overflows.
    let tokens = frames * height * width + textBefore + textAfter
    guard tokens <= 1 << 24 else {
        throw .invalid(
            "frames, height, width", found: "\(tokens) tokens", expected: "at most \(1 << 24)", kind: .usage)
    }
    return TokenLayout(
        frames: frames, height: height, width: width, textBefore: textBefore, textAfter: textAfter)
}
