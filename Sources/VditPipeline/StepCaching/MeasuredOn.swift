/// What a calibration was measured on, where it holds for that alone.
struct MeasuredOn: Sendable {
    /// Frames, height and width of the video.
    var size: [Int]?
    /// Digest of the weights: a name says little of a fine-tuned model.
    var weights: String?

    /// Refuses a run of another size or other weights.
    ///
    /// - Parameter place: the file, and what of it.
    /// - Throws: `PipelineError.invalid` (65).
    func check(fits run: MeasuredOn, _ place: String) throws(PipelineError) {
        if let size, let own = run.size, size != own {
            throw .invalid(
                place, found: "a calibration at \(Self.words(size))",
                expected: "one at \(Self.words(own)), as 'vdit calibrate' makes it", kind: .badData)
        }
        if let weights, let own = run.weights, weights != own {
            throw .invalid(
                place, found: "a calibration of weights \(weights.prefix(12))",
                expected: "one of these, \(own.prefix(12)), as 'vdit calibrate' makes it", kind: .badData)
        }
    }

    private static func words(_ size: [Int]) -> String {
        size.count == 3 ? "\(size[2])x\(size[1]), \(size[0]) frames" : "\(size)"
    }
}

extension RenderSettings {
    /// - Throws: `PipelineError.setting` where the loop has several sizes, which no calibration is of.
    func requireOneSize() throws {
        guard let sizes = self.sizes else { return }
        throw PipelineError.setting("sizes", found: sizes.written, expected: "none: a table is of one size")
    }

    /// Frames, height and width, as calibrations have them.
    var videoSize: [Int] { [self.numFrames, self.height, self.width] }
}
