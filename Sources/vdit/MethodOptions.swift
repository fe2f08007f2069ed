import ArgumentParser
import VDiT

/// A sparse method and what it is asked to do.
struct MethodOptions: ParsableArguments {
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

    /// Everything that is an option of the method.
    ///
    /// - Parameter more: `name=value` of flags that stand for one.
    func options(_ more: [String] = []) throws -> [String: String] {
        try MethodCatalogue.parse(
            sparseOption.flatMap { $0.split(separator: ",").map(String.init) } + more
                + (denseSteps.map { ["dense-steps=\($0)"] } ?? [])
                + (denseLayers.map { ["dense-layers=\($0)"] } ?? []))
    }

    /// For commands that look at one method.
    func choice(_ more: [String] = []) throws -> MethodChoice {
        var settings = Settings()
        guard let name = try settings.value("sparse", sparse) else {
            throw ValidationError("missing --sparse; 'vdit methods' lists the methods")
        }
        return try MethodChoice(
            name, options: try options(more), density: try settings.value("density", density))
    }
}
