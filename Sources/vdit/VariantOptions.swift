import ArgumentParser
import VDiT

/// The noise and the attention of one render: what a comparison varies.
struct VariantOptions: ParsableArguments {
    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Noise like torch's CPU generator of this seed. Default: random.", valueName: "n"))
    var seed: Int?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Sparse attention; 'vdit methods' lists them. Default: dense.", valueName: "method"))
    var sparse: String?

    @Option(
        name: .long, parsing: .unconditionalSingleValue,
        help: ArgumentHelp("An option of the sparse method; repeat for more.", valueName: "name=value"))
    var sparseOption: [String] = []

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Part of the attention a sparse method keeps, above 0, at most 1.", valueName: "x"))
    var density: Double?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("First steps computed densely, a number or a part such as 25%.", valueName: "n"))
    var denseSteps: String?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("First transformer blocks computed densely.", valueName: "n"))
    var denseLayers: Int?

    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp(
            "What happens where the method cannot serve a call: stop, or compute it densely. Default: refuse.",
            valueName: "refuse|dense"))
    var sparseFallback: AttentionContext.Fallback?

    func apply(to request: inout RenderRequest) throws {
        var settings = Settings()
        request.seed = try settings.value("seed", seed)
        request.sparse = try settings.value("sparse", sparse)
        request.density = try settings.value("density", density)
        request.sparseOptions = try MethodCatalogue.parse(
            sparseOption.flatMap { $0.split(separator: ",").map(String.init) }
                + (denseSteps.map { ["dense-steps=\($0)"] } ?? [])
                + (denseLayers.map { ["dense-layers=\($0)"] } ?? []))
        request.origins.merge(settings.origins) { $1 }
    }
}
