import VditAttention

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
