import VDiT

/// Frames for tests of media, and the way they go to a file and back.
public enum Clips {
    /// Moving, saturated, partly noisy: nothing an encoder gets right by chance.
    public static func busy(
        _ index: Int, width: Int, height: Int, depth: SampleDepth = .eight
    ) -> VideoFrame {
        var generator = SeededGenerator(seed: UInt64(index))
        return frame(width, height, depth) { row, column, channel in
            let random = generator.next()
            let wave = (column * (channel + 1) * 3 + row * 2 + index * 11 + Int(random >> 60)) % 256
            return depth == .eight ? wave : wave * 256 + Int(random % 256)
        }
    }

    /// Slow colour ramps, which lossy formats can represent well.
    public static func smooth(_ index: Int, width: Int, height: Int) -> VideoFrame {
        frame(width, height, .eight) { row, column, channel in
            switch channel {
            case 0: 60 + column * 120 / width + index
            case 1: 70 + row * 100 / height
            default: 160 - column * 60 / width + index
            }
        }
    }

    /// Uniform noise, which nothing compresses.
    public static func noise(_ seed: Int, width: Int, height: Int) -> VideoFrame {
        var generator = SeededGenerator(seed: UInt64(seed))
        return frame(width, height, .eight) { _, _, _ in Int(generator.next() % 256) }
    }

    /// One colour everywhere.
    public static func patch(_ colour: [Int], width: Int, height: Int) -> VideoFrame {
        frame(width, height, .eight) { _, _, channel in colour[channel] }
    }

    /// A frame of `value(row, column, channel)`.
    public static func frame(
        _ width: Int, _ height: Int, _ depth: SampleDepth, _ value: (Int, Int, Int) -> Int
    ) -> VideoFrame {
        let frame = VideoFrame(height: height, width: width, depth: depth)
        for index in 0..<frame.pixels.count {
            let sample = value(index / 3 / width, index / 3 % width, index % 3)
            switch depth {
            case .eight: frame.pixels.pointer(as: UInt8.self)[index] = UInt8(sample)
            case .sixteen: frame.pixels.pointer(as: UInt16.self)[index] = UInt16(sample)
            }
        }
        return frame
    }

    /// Options with 16 frames per second and everything else at its default, then changed.
    public static func options(
        _ change: (inout VideoOptions) -> Void = { _ in }
    ) throws -> VideoOptions {
        var options = VideoOptions(frameRate: try FrameRate(16))
        change(&options)
        return options
    }

    public static func write(_ frames: [VideoFrame], to path: String, _ options: VideoOptions) throws {
        var writer = try FFmpegWriter(
            path: path, width: frames[0].width, height: frames[0].height, frameCount: frames.count,
            options: options)
        for frame in frames { try writer.write(frame) }
        try writer.finish()
    }

    public static func read(
        _ path: String, depth: SampleDepth = .eight
    ) throws -> (info: VideoInfo, frames: [VideoFrame]) {
        let reader = try FFmpegReader(path, depth: depth)
        var frames: [VideoFrame] = []
        while let frame = try reader.next() { frames.append(frame) }
        return (reader.info, frames)
    }
}

extension VideoFrame {
    /// The samples' memory, for comparing bit by bit.
    public var bytes: [UInt8] { pixels.withBytes { Array($0) } }
}
