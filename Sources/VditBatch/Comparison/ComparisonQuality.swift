import VditMedia
import VditTensor

/// How far a clip is from another, and what is said about each frame. dB are of 8- or 16-bit full-range R'G'B'.
///
/// A measure in dB is null where nothing differs: an infinite ratio has no number.
public struct Quality: Sendable, Codable, Equatable {
    public struct Frame: Sendable, Codable, Equatable {
        @Nullable public var psnr: Double?
        @Nullable public var psnrY: Double?
        /// Null where a side is shorter than the window of 11 pixels.
        @Nullable public var ssim: Double?
        @Nullable public var ssimY: Double?
        /// Null where a side is shorter than 161 pixels.
        @Nullable public var msSsim: Double?
        /// Of the change since the frame before; null for the first one.
        @Nullable public var changePsnr: Double?
        public var isIdentical: Bool
    }

    public var frames: Int
    public var identicalFrames: Int
    /// The headline: dB of the squared error averaged over all frames, pixels and channels.
    @Nullable public var psnr: Double?
    /// The mean of the frames' own dB, identical ones left out.
    @Nullable public var psnrMeanOfFrames: Double?
    /// The same over all frames, each counted as 6 bits + 12 dB at most (60 dB for 8 bits), as libvmaf caps it.
    public var psnrMeanOfFramesCapped: Double
    /// R', G', B' alone, each from its mean squared error.
    public var psnrChannels: [Nullable<Double>]
    /// BT.709 luma, not rounded.
    @Nullable public var psnrY: Double?
    /// Of the worst frame, and which one that is, from 0.
    @Nullable public var psnrLowest: Double?
    @Nullable public var psnrLowestFrame: Int?
    /// Gaussian 11×11 windows of sigma 1.5, the mean of R', G' and B' and of the frames.
    @Nullable public var ssim: Double?
    @Nullable public var ssimY: Double?
    @Nullable public var ssimLowest: Double?
    /// 8×8 blocks as FFmpeg's `ssim` filter has them, on R'G'B'.
    @Nullable public var ssimFfmpeg: Double?
    @Nullable public var msSsim: Double?
    /// dB of how differently the two clips change from frame to frame: flicker lowers it, an offset does not.
    @Nullable public var changePsnr: Double?
    public var perFrame: [Frame]
}

/// Measures a clip against a reference, frame by frame.
public struct QualityMeter {
    private var errors = PSNR()
    private var changes = PSNR()
    private var frames: [Quality.Frame] = []
    private var blockSSIM: [Double] = []
    private var previous: (frame: VideoFrame, reference: VideoFrame)?
    private let pool: WorkPool?

    public init(pool: WorkPool? = nil) { self.pool = pool }

    /// Takes the next frame of both clips.
    ///
    /// - Throws: `MediaError.invalid` if their sizes or depths differ.
    public mutating func add(_ frame: VideoFrame, reference: VideoFrame) throws(MediaError) {
        let error = try PSNR.compare(frame, to: reference, pool: pool)
        errors.add(error)
        var change: Double?
        if let previous {
            let difference = try PSNR.compareChange(
                from: previous.frame, to: frame, reference: previous.reference, reference, pool: pool)
            changes.add(difference)
            change = difference.psnr.finite
        }
        previous = (frame, reference)
        let side = min(frame.width, frame.height)
        if side >= SSIMWindow.block8.smallestSide {
            let channels = try SSIM.channels(frame, to: reference, window: .block8, pool: pool)
            blockSSIM.append(channels.reduce(0, +) / 3)
        }
        var (ssim, ssimY, multiScale): (Double?, Double?, Double?)
        if side >= SSIMWindow.gaussian11.smallestSide {
            ssim = try SSIM.channels(frame, to: reference, pool: pool).reduce(0, +) / 3
            ssimY = try SSIM.luma(frame, to: reference, pool: pool)
        }
        if side >= 161 { multiScale = try SSIM.multiScale(frame, to: reference, pool: pool) }
        frames.append(
            Quality.Frame(
                psnr: error.psnr.finite, psnrY: error.lumaPSNR.finite, ssim: ssim, ssimY: ssimY,
                msSsim: multiScale, changePsnr: change, isIdentical: error.isIdentical))
    }

    public var count: Int { frames.count }

    /// The whole clip. At least one frame must have been added.
    public var quality: Quality {
        precondition(!frames.isEmpty)
        let depth = errors.frames[0].depth
        let cap = Double(6 * depth.rawValue + 12)
        let worst = errors.frames.indices.max { a, b in
            errors.frames[a].meanSquared < errors.frames[b].meanSquared
        }.flatMap { errors.frames[$0].isIdentical ? nil : $0 }
        return Quality(
            frames: frames.count, identicalFrames: errors.identicalFrames, psnr: errors.pooled.finite,
            psnrMeanOfFrames: errors.meanOfFrames.finite,
            psnrMeanOfFramesCapped: errors.frames.map { min($0.psnr, cap) }.mean ?? cap,
            psnrChannels: errors.pooledChannels.map { Nullable(wrappedValue: $0.finite) },
            psnrY: errors.pooledLuma.finite, psnrLowest: worst.flatMap { frames[$0].psnr },
            psnrLowestFrame: worst, ssim: frames.compactMap(\.ssim).mean,
            ssimY: frames.compactMap(\.ssimY).mean, ssimLowest: frames.compactMap(\.ssim).min(),
            ssimFfmpeg: blockSSIM.mean, msSsim: frames.compactMap(\.msSsim).mean,
            changePsnr: changes.frames.isEmpty ? nil : changes.pooled.finite, perFrame: frames)
    }
}
