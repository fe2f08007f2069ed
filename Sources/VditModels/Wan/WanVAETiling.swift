import VditTensor

/// Decoding in overlapping tiles, each over all frames, blended where they overlap. In pixels.
///
/// Needs the memory of one tile's decode, but holds the clip as floats until the last tile is done. The
/// result differs from an untiled decode: attention and the zeros at the border act in each tile.
/// - Source: `tiled_decode` of AutoencoderKLWan, diffusers, and its defaults.
public struct WanVAETiling: Sendable, Equatable {
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
}

extension WanVAE {
    /// Decodes as `decode` does, tile by tile; untiled when the latents fit into one tile.
    ///
    /// - Throws: `ModelError` too when a stride is smaller than a latent pixel or larger than its tile.
    public func decode(
        _ latents: Tensor, tiling: WanVAETiling, onFrames: (Tensor) throws -> Void
    ) throws {
        let space = spatialCompression
        for (tile, stride) in [
            (tiling.tileHeight, tiling.strideHeight), (tiling.tileWidth, tiling.strideWidth),
        ] where stride < space || stride > tile {
            throw ModelError.invalid(
                "VAE tile stride", found: "\(stride)", expected: "\(space) to the tile's size, \(tile)",
                kind: .usage)
        }
        try check(latents)
        let (frames, height, width) = (latents.shape[1], latents.shape[2], latents.shape[3])
        let tile = (height: tiling.tileHeight / space, width: tiling.tileWidth / space)
        let stride = (height: tiling.strideHeight / space, width: tiling.strideWidth / space)
        if height <= tile.height && width <= tile.width { return try decode(latents, onFrames: onFrames) }

        // Everything below is in the decoder's own pixels, before patches are unfolded.
        let patch = config.patchSize
        let scale = space / patch
        let step = (height: tiling.strideHeight / patch, width: tiling.strideWidth / patch)
        let blend = (
            height: tiling.tileHeight / patch - step.height, width: tiling.tileWidth / patch - step.width
        )
        let canvas = (0..<frameCount(latentFrames: frames)).map { _ in
            Tensor(.f32, [height * scale, width * scale, config.outChannels])
        }
        var above: [[Tensor]] = []
        for (row, top) in Swift.stride(from: 0, to: height, by: stride.height).enumerated() {
            var current: [[Tensor]] = []
            for (column, left) in Swift.stride(from: 0, to: width, by: stride.width).enumerated() {
                var made: [Tensor] = []
                try decodeFrames(
                    latents.window(
                        top..<min(top + tile.height, height), left..<min(left + tile.width, width)),
                    trace: nil
                ) { made += $0.map { $0.copy() } }
                for (frame, pixels) in made.enumerated() {
                    if row > 0 { blendDown(above[column][frame], into: pixels, extent: blend.height) }
                    if column > 0 { blendRight(current[column - 1][frame], into: pixels, extent: blend.width) }
                    paste(pixels, into: canvas[frame], top: row * step.height, left: column * step.width)
                }
                current.append(made)
            }
            above = current
        }
        for frame in canvas {
            try onFrames(planarVideo([frame], patch: patch, limitedTo: -1...1, compute: compute))
        }
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
    let extent = min(extent, left.shape[1], tile.shape[1])
    for row in 0..<tile.shape[0] {
        for column in 0..<extent {
            fade(
                left[row][left.shape[1] - extent + column], into: tile[row][column],
                Float(column) / Float(extent))
        }
    }
}

private func fade(_ old: Tensor, into new: Tensor, _ weight: Float) {
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
