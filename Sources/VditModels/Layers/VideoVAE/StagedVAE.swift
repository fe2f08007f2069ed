import Glibc
import VditTensor

/// A VAE that is two lists of stages, and how clips go through them.
protocol StagedVAESpecification: DecoderSpecification {
    var decoderStages: [any VAEStage] { get }
    var encoderStages: [any VAEStage] { get }
    /// What the decoder takes of latents as the sampler has them: `value · scale + shift` for each channel.
    var denormalization: (scale: [Float], shift: [Float]) { get }
    /// What the sampler takes of the encoder's latents.
    var normalization: (scale: [Float], shift: [Float]) { get }
    /// Frames that enter the decoder, and the encoder, together; nil is all there are.
    var groupSizes: (decoder: Int?, encoder: Int?) { get }
    /// What longer clips are cut into.
    var pieces: VAEPieces? { get }
    /// What larger frames are decoded in, unless something else is asked for.
    var tiling: VAETiling? { get }
    /// Frames that the decoder makes before the clip's first.
    var leadingFrames: Int { get }
    /// Pixels that are folded into channels of what the decoder's last stage makes, in height and in width.
    var outputPatch: Int { get }
}

extension StagedVAESpecification {
    public var tensors: [(name: String, shape: [Int])] { encoderStages.tensors + decoderStages.tensors }

    public var summary: String {
        "\(latentChannels) latent channels, \(spatialCompression)× in space, \(temporalCompression)× in time"
    }

    var normalization: (scale: [Float], shift: [Float]) {
        let (scale, shift) = denormalization
        return (scale.map { 1 / $0 }, zip(scale, shift).map { -$1 / $0 })
    }
    var pieces: VAEPieces? { nil }
    var tiling: VAETiling? { nil }
    var leadingFrames: Int { 0 }
    var outputPatch: Int { 1 }

    public func decodeFLOPs(height: Int, width: Int, frames: Int) -> Double {
        let (height, width) = (height / spatialCompression, width / spatialCompression)
        let stages = decoderStages
        let lengths = pieces?.ranges(of: frames, unit: 1).map(\.count) ?? [frames]
        let tiles = tiling?.spans(height: height, width: width, compression: spatialCompression)
        var sum = 0.0
        for rows in tiles?.rows.map(\.count) ?? [height] {
            for columns in tiles?.columns.map(\.count) ?? [width] {
                for frames in lengths { sum += stages.flops(VAEClip(frames: frames, height: rows, width: columns)) }
            }
        }
        return sum
    }

    public func decodeBytes(height: Int, width: Int, operandBytes: Int) -> Int {
        let tile = tiling.map { (min(height, $0.tileHeight), min(width, $0.tileWidth)) } ?? (height, width)
        let group = pieces?.length ?? groupSizes.decoder.map { $0 + 1 } ?? 1
        let clip = VAEClip(frames: group, height: tile.0 / spatialCompression, width: tile.1 / spatialCompression)
        // Those on their way out, and a piece to blend with.
        let frames = pieces.map { 2 * (1 + ($0.length - 1) * temporalCompression) } ?? 2
        return decoderStages.bytes(clip, operandBytes: operandBytes) + frames * 3 * height * width * 4
    }

    public func load(_ weights: any WeightSource, _ compute: ComputeContext) throws -> any VideoDecoder {
        try StagedDecoder(self, LoadedVAEStages(decoderStages, from: weights, compute), compute)
    }

    public func loadEncoder(_ weights: any WeightSource, _ compute: ComputeContext) throws -> (any VideoEncoder)? {
        try StagedEncoder(self, LoadedVAEStages(encoderStages, from: weights, compute), compute)
    }
}

/// A decoder that is a list of stages. Results do not depend on the number of threads.
public final class StagedDecoder: VideoDecoder {
    private let specification: any StagedVAESpecification
    private let stages: LoadedVAEStages
    private let compute: ComputeContext

    init(_ specification: any StagedVAESpecification, _ stages: LoadedVAEStages, _ compute: ComputeContext) {
        (self.specification, self.stages, self.compute) = (specification, stages, compute)
    }

    public var weightBytes: Int { stages.weightBytes }

    public func decode(
        _ latents: Tensor, _ conditions: DecodeConditions, onFrames: ([Tensor]) throws -> Void
    ) throws {
        try decode(latents, tiling: specification.tiling, onFrames: onFrames)
    }

    /// Decodes in tiles, or whole frames where `tiling` is nil or one tile holds them.
    ///
    /// - Parameter trace: records every stage's output frames as `stage/frame`, `[height, width, channels]`.
    /// - Throws: `ModelError` too when a stride is smaller than a latent pixel or larger than its tile.
    public func decode(
        _ latents: Tensor, tiling: VAETiling?, trace: Trace? = nil, onFrames: ([Tensor]) throws -> Void
    ) throws {
        try specification.check(latents: latents)
        let compression = specification.spatialCompression
        try tiling?.check(compression: compression)
        let pool = TensorPool(reclaims: true)
        func decode(_ latents: Tensor, _ deliver: ([Tensor]) throws -> Void) throws {
            guard let tiling, !tiling.holds(latents, compression: compression) else {
                return try whole(latents, pool, trace, deliver)
            }
            let frames = try tiling.frames(of: latents, compression: compression, patch: 1) { tile, deliver in
                try whole(tile, pool, trace, deliver)
            }
            // What is made of tiles is there as a whole: it goes on in the steps that encoders like.
            try inTwos(frames.count, isLast: true) { range, _ in try deliver(Array(frames[range])) }
        }
        func pictures(_ frames: [Tensor]) throws {
            try onFrames(
                frames.map {
                    unpatchedFrame($0, patch: specification.outputPatch, limitedTo: -1...1, compute: compute)
                })
        }
        guard let pieces = specification.pieces, pieces.cut(latents.shape[1], unit: 1) else {
            return try decode(latents, pictures)
        }
        try pieces.run(
            latents.shape[1], unit: 1, made: specification.temporalCompression,
            convert: { range in
                var frames: [Tensor] = []
                try decode(latents.frames(range)) { frames += $0.map { $0.copy() } }
                return frames
            }, deliver: pictures)
    }

    /// Decodes into frames `[height, width, 3]` as the last stage makes them.
    private func whole(
        _ latents: Tensor, _ pool: TensorPool, _ trace: Trace?, _ deliver: ([Tensor]) throws -> Void
    ) throws {
        let session = VAESession(compute: compute, trace: trace, tensors: pool)
        let chain = try stages.start(height: latents.shape[2], width: latents.shape[3], session: session)
        var leading = specification.leadingFrames
        for group in groups(of: latents.shape[1], size: specification.groupSizes.decoder) {
            let frames = group.map { latents.channelsLastFrame($0, specification.denormalization) }
            session.latents = frames
            try chain.push(
                frames, isFirst: group.lowerBound == 0, isLast: group.upperBound == latents.shape[1]
            ) { made in
                let dropped = min(leading, made.count)
                leading -= dropped
                if dropped < made.count { try deliver(Array(made.dropFirst(dropped))) }
            }
        }
    }
}

/// An encoder that is a list of stages, to the mean and the logarithm of the variance of each latent value.
public final class StagedEncoder: VideoEncoder {
    private let specification: any StagedVAESpecification
    private let stages: LoadedVAEStages
    private let compute: ComputeContext

    init(_ specification: any StagedVAESpecification, _ stages: LoadedVAEStages, _ compute: ComputeContext) {
        (self.specification, self.stages, self.compute) = (specification, stages, compute)
    }

    public func encode(_ video: Tensor, noise: Tensor?) throws -> Tensor {
        let (latents, logVariance) = try distribution(of: video)
        let (scale, shift) = specification.normalization
        for channel in 0..<specification.latentChannels {
            let spread = logVariance[channel].floats()
            let noise = noise?[channel].floats()
            latents[channel].withMutableFloats { values in
                for index in values.indices {
                    let drawn = values[index] + (noise.map { expf(spread[index] / 2) * $0[index] } ?? 0)
                    values[index] = drawn * scale[channel] + shift[channel]
                }
            }
        }
        return latents
    }

    /// Encodes `[3, frames, height, width]` f32 video in -1...1 into the latents' distribution, before normalisation.
    ///
    /// - Returns: mean, and the logarithm of the variance limited to -30...20.
    /// - Throws: `ModelError` for a size that the encoder cannot make latents of.
    public func distribution(of video: Tensor, trace: Trace? = nil) throws -> (mean: Tensor, logVariance: Tensor) {
        try specification.check(video: video)
        let (frames, height, width) = (video.shape[1], video.shape[2], video.shape[3])
        let (channels, time) = (specification.latentChannels, specification.temporalCompression)
        let space = specification.spatialCompression
        let pool = TensorPool(reclaims: true)
        let moments = Tensor(.f32, [2 * channels, 1 + (frames - 1) / time, height / space, width / space])
        var made = 0
        func keep(_ frames: [Tensor]) {
            for frame in frames {
                moments.setFrame(made, channelsLast: frame)
                made += 1
            }
        }
        func whole(_ range: Range<Int>, _ deliver: ([Tensor]) throws -> Void) throws {
            let session = VAESession(compute: compute, trace: trace, tensors: pool)
            let chain = try stages.start(height: height, width: width, session: session)
            for group in groups(of: range.count, size: specification.groupSizes.encoder) {
                try chain.push(
                    group.map { video.channelsLastFrame(range.lowerBound + $0) }, isFirst: group.lowerBound == 0,
                    isLast: group.upperBound == range.count, deliver: deliver)
            }
        }
        if let pieces = specification.pieces, pieces.cut(frames, unit: time) {
            try pieces.run(
                frames, unit: time, made: 1,
                convert: { range in
                    var frames: [Tensor] = []
                    try whole(range) { frames += $0.map { $0.copy() } }
                    return frames
                }, deliver: keep)
        } else {
            try whole(0..<frames, keep)
        }
        let logVariance = moments.slice(channels..<2 * channels)
        logVariance.withMutableFloats { values in
            for index in values.indices { values[index] = min(max(values[index], -30), 20) }
        }
        return (moments.slice(0..<channels), logVariance)
    }
}

extension DecoderSpecification {
    /// - Throws: `ModelError` unless latents are `[channels, frames, height, width]` f32 of the decoder's channels.
    func check(latents: Tensor) throws(ModelError) {
        guard latents.rank == 4, latents.shape[0] == latentChannels, latents.dtype == .f32, latents.count > 0 else {
            throw ModelError.invalid(
                "latents", found: "\(latents.dtype.rawValue) \(latents.shape)",
                expected: "F32 [\(latentChannels), frames, height, width]", kind: .badData)
        }
    }

    /// - Throws: `ModelError` unless a video is `[3, frames, height, width]` f32, frames 1 more than a multiple of the
    ///   temporal compression, height and width multiples of the spatial one.
    func check(video: Tensor) throws(ModelError) {
        let (space, time) = (spatialCompression, temporalCompression)
        guard video.rank == 4, video.shape[0] == 3, video.dtype == .f32, video.count > 0,
            video.shape[1] % time == 1 % time, video.shape[2] % space == 0, video.shape[3] % space == 0
        else {
            throw ModelError.invalid(
                "video", found: "\(video.dtype.rawValue) \(video.shape)",
                expected: "F32 [3, \(time)k + 1, a multiple of \(space), a multiple of \(space)]", kind: .badData)
        }
    }
}

extension Tensor {
    /// Frames of `[channels, frames, height, width]` f32.
    fileprivate func frames(_ range: Range<Int>) -> Tensor {
        let result = Tensor(.f32, [shape[0], range.count, shape[2], shape[3]])
        for channel in 0..<shape[0] { result[channel].assign(self[channel].slice(range)) }
        return result
    }
}
