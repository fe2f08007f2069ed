import VditTensor

/// Decoding in overlapping tiles, each over all frames, blended where they overlap. In pixels.
///
/// Needs the memory of one tile's decode, but holds the clip as floats until the last tile is done. The
/// result differs from an untiled decode: attention and the edges of the picture act in each tile.
/// - Source: `tiled_decode` of AutoencoderKLWan, diffusers, and its defaults.
public struct VAETiling: Sendable, Equatable {
    public var tileHeight: Int
    public var tileWidth: Int
    /// From one tile's top to the next one's; tiles overlap by the rest.
    public var strideHeight: Int
    public var strideWidth: Int

    public init(
        tileHeight: Int = 256, tileWidth: Int = 256, strideHeight: Int = 192, strideWidth: Int = 192
    ) {
        self.tileHeight = tileHeight
        self.tileWidth = tileWidth
        self.strideHeight = strideHeight
        self.strideWidth = strideWidth
    }

    /// - Parameter compression: pixels per latent pixel.
    /// - Throws: `ModelError` when a stride is smaller than a latent pixel or larger than its tile.
    func check(compression: Int) throws(ModelError) {
        for (tile, stride) in [(tileHeight, strideHeight), (tileWidth, strideWidth)]
        where stride < compression || stride > tile {
            throw ModelError.invalid(
                "VAE tile stride", found: "\(stride)", expected: "\(compression) to the tile's size, \(tile)",
                kind: .usage)
        }
    }

    /// Whether latents `[channels, frames, height, width]` fit into one tile.
    func holds(_ latents: Tensor, compression: Int) -> Bool {
        holds(height: latents.shape[2], width: latents.shape[3], compression)
    }

    private func holds(height: Int, width: Int, _ compression: Int) -> Bool {
        height <= tileHeight / compression && width <= tileWidth / compression
    }

    /// Rows of latents, and columns, that each tile decodes.
    func spans(height: Int, width: Int, compression: Int) -> (rows: [Range<Int>], columns: [Range<Int>]) {
        if holds(height: height, width: width, compression) { return ([0..<height], [0..<width]) }
        func spans(_ extent: Int, _ tile: Int, _ step: Int) -> [Range<Int>] {
            stride(from: 0, to: extent, by: step / compression).map { $0..<min($0 + tile / compression, extent) }
        }
        return (spans(height, tileHeight, strideHeight), spans(width, tileWidth, strideWidth))
    }

    /// The frames of a clip, decoded tile by tile.
    ///
    /// - Parameters:
    ///   - latents: `[channels, frames, height, width]` f32.
    ///   - compression: pixels per latent pixel.
    ///   - patch: pixels per row, and per column, of the frames that `decode` delivers.
    ///   - decode: decodes a tile's latents into frames `[height, width, channels]` f32, in order.
    func frames(
        of latents: Tensor, compression: Int, patch: Int,
        decode: (Tensor, ([Tensor]) throws -> Void) throws -> Void
    ) throws -> [Tensor] {
        let (height, width) = (latents.shape[2], latents.shape[3])
        let spans = spans(height: height, width: width, compression: compression)
        // From here on in rows and columns of the decoder's frames.
        let scale = compression / patch
        let step = (height: strideHeight / patch, width: strideWidth / patch)
        let blend = (height: tileHeight / patch - step.height, width: tileWidth / patch - step.width)
        var canvas: [Tensor] = []
        var above: [[Tensor]] = []
        for (row, rows) in spans.rows.enumerated() {
            var current: [[Tensor]] = []
            for (column, columns) in spans.columns.enumerated() {
                var made: [Tensor] = []
                try decode(latents.window(rows, columns)) { made += $0.map { $0.copy() } }
                if canvas.isEmpty {
                    canvas = made.map { Tensor(.f32, [height * scale, width * scale, $0.shape[2]]) }
                }
                for (frame, pixels) in made.enumerated() {
                    if row > 0 { blendDown(above[column][frame], into: pixels, extent: blend.height) }
                    if column > 0 { blendRight(current[column - 1][frame], into: pixels, extent: blend.width) }
                    paste(pixels, into: canvas[frame], top: row * step.height, left: column * step.width)
                }
                current.append(made)
            }
            above = current
        }
        return canvas
    }
}

extension Tensor {
    /// Rows and columns of `[channels, frames, height, width]` f32.
    fileprivate func window(_ rows: Range<Int>, _ columns: Range<Int>) -> Tensor {
        let (planes, height, width) = (shape[0] * shape[1], shape[2], shape[3])
        let result = Tensor(.f32, [shape[0], shape[1], rows.count, columns.count])
        let source = reshaped([planes * height, width])
        let target = result.reshaped([planes * rows.count, columns.count])
        for plane in 0..<planes {
            for (index, row) in rows.enumerated() {
                target[plane * rows.count + index].assign(source[plane * height + row].slice(columns))
            }
        }
        return result
    }
}

/// The top rows of `tile` fade in over the bottom rows of the tile above.
private func blendDown(_ above: Tensor, into tile: Tensor, extent: Int) {
    let extent = min(extent, above.shape[0], tile.shape[0])
    for row in 0..<extent {
        fade(above[above.shape[0] - extent + row], into: tile[row], Float(row) / Float(extent))
    }
}

/// The left columns of `tile` fade in over the right columns of the tile to its left.
private func blendRight(_ left: Tensor, into tile: Tensor, extent: Int) {
    let (from, to, channels) = (left.shape[1], tile.shape[1], tile.shape[2])
    let extent = min(extent, from, to)
    for row in 0..<tile.shape[0] {
        left[row].withFloats { old in
            tile[row].withMutableFloats { new in
                for index in 0..<extent * channels {
                    let weight = Float(index / channels) / Float(extent)
                    let faded = old[(from - extent) * channels + index]
                    new[index] = faded * (1 - weight) + new[index] * weight
                }
            }
        }
    }
}

/// `new` as it fades in over `old`, in place: its weight is 0 where it begins.
func fade(_ old: Tensor, into new: Tensor, _ weight: Float) {
    old.withFloats { old in
        new.withMutableFloats { new in
            for index in new.indices { new[index] = old[index] * (1 - weight) + new[index] * weight }
        }
    }
}

/// The part of a tile that lies on the canvas; what the next tile covers is overwritten by it.
private func paste(_ tile: Tensor, into canvas: Tensor, top: Int, left: Int) {
    let rows = min(tile.shape[0], canvas.shape[0] - top)
    let columns = min(tile.shape[1], canvas.shape[1] - left)
    for row in 0..<rows {
        canvas[top + row].slice(left..<left + columns).assign(tile[row].slice(0..<columns))
    }
}
