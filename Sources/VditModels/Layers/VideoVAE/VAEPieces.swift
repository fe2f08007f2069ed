import VditTensor

/// Working through a long clip in overlapping pieces of time, blended where they overlap: what statistics over all
/// frames make of it depends on where it is cut, so the cuts are part of the result.
///
/// - Source: the framewise coding of AutoencoderKLHunyuanVideo, on by default, diffusers 0.42.1.
struct VAEPieces: Sendable, Equatable {
    /// Latent frames of a piece, and from one piece's first to the next one's. The pieces overlap by a frame that all
    /// but the first drop, and by those that are blended.
    let length: Int
    let stride: Int

    private var blended: Int { length - 1 - stride }

    /// Whether a clip is cut at all.
    ///
    /// - Parameter unit: frames that go in for each latent frame after the first.
    func cut(_ count: Int, unit: Int) -> Bool { count > (length - 1) * unit }

    /// Frames of each piece; the whole of a clip that is not cut.
    func ranges(of count: Int, unit: Int) -> [Range<Int>] {
        if !cut(count, unit: unit) { return [0..<count] }
        // Of a later piece of one frame nothing would be left.
        return Swift.stride(from: 0, to: count, by: stride * unit)
            .map { $0..<min(count, $0 + (length - 1) * unit + 1) }.filter { $0.count > 1 }
    }

    /// The pieces' frames, blended, in order.
    ///
    /// - Parameters:
    ///   - count: frames that go in.
    ///   - made: frames that come out for each latent frame after the first.
    ///   - convert: a range of those that go in.
    func run(
        _ count: Int, unit: Int, made: Int, convert: (Range<Int>) throws -> [Tensor],
        deliver: ([Tensor]) throws -> Void
    ) throws {
        var previous: [Tensor] = []
        for range in ranges(of: count, unit: unit) {
            let isFirst = range.lowerBound == 0
            var piece = try convert(range)
            if !isFirst { piece.removeFirst() }
            let extent = min(previous.count, piece.count, blended * made)
            for frame in 0..<extent {
                fade(
                    previous[previous.count - extent + frame], into: piece[frame], Float(frame) / Float(extent))
            }
            try deliver(Array(piece.prefix(stride * made + (isFirst ? 1 : 0))))
            previous = piece
        }
    }
}

/// A clip in groups of `size` frames, the first of which has what is left over too; nil is one group.
func groups(of count: Int, size: Int?) -> [Range<Int>] {
    guard let size else { return [0..<count] }
    let first = min(count, size + count % size)
    return [0..<first] + stride(from: first, to: count, by: size).map { $0..<min(count, $0 + size) }
}
