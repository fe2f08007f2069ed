import ArgumentParser
import VDiT

/// The model a benchmark fills with random weights, and the size of the video whose tokens or frames it works on.
struct BenchModel: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A published model: \(Self.names.joined(separator: ", ")). Default: \(Self.standard).",
            valueName: "config"))
    var config = Self.standard

    private static let standard = "wan2.1-t2v-1.3b"
    private static var names: [String] { ((try? ModelCatalogue.published()) ?? []).map(\.name) }

    /// - Throws: 64 for a name no model has.
    func published() throws -> PublishedModel {
        guard let model = try ModelCatalogue.published().first(where: { $0.name == config }) else {
            throw CommandError(
                description: "--config: found \(config), expected \(expectedNames(Self.names, insteadOf: config))")
        }
        return model
    }
}

/// The size of a video.
struct BenchSize: ParsableArguments {
    @Option(help: ArgumentHelp("Of the video, in pixels.", valueName: "WxH")) var size = FrameSize(argument: "832x480")
    @Option(parsing: .unconditional, help: "Of the video, as many as the model can make.") var numFrames = 33

    /// Latents of such a video, checked as a render's are.
    func latents(_ model: ModelSpecification) throws -> LatentShape {
        let size = size ?? FrameSize(width: 832, height: 480)
        try model.check(width: size.width, height: size.height, numFrames: numFrames)
        return model.latentShape(width: size.width, height: size.height, numFrames: numFrames)
    }
}
