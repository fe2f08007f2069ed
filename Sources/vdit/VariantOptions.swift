import ArgumentParser
import VDiT

/// The noise and the attention of one render: what a comparison varies.
struct VariantOptions: ParsableArguments {
    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Noise like torch's CPU generator of this seed. Default: random.", valueName: "n"))
    var seed: Int?

    @OptionGroup var method: MethodOptions

    func apply(to request: inout RenderRequest) throws {
        var settings = Settings()
        request.seed = try settings.value("seed", seed)
        request.sparse = try settings.value("sparse", method.sparse)
        request.density = try settings.value("density", method.density)
        request.sparseOptions = try method.options()
        request.origins.merge(settings.origins) { $1 }
    }
}
