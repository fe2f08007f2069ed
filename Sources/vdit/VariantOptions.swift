import ArgumentParser
import VDiT

/// The noise and the attention of one render: what a comparison varies.
struct VariantOptions: ParsableArguments {
    @Option(
        name: .long, parsing: .unconditional,
        help: ArgumentHelp("Noise like torch's CPU generator of this seed. Default: random.", valueName: "n"))
    var seed: Int?

    @OptionGroup var method: MethodOptions

    /// - Parameter recorded: values of a record, for what no flag says.
    func apply(to request: inout RenderRequest, recorded: [String: String] = [:]) throws {
        var settings = Settings(recorded: recorded)
        request.seed = try settings.value("seed", seed)
        request.sparse = try settings.value("sparse", method.sparse)
        if settings.origins["sparse"] != .file {
            // The options of one method mean nothing to another.
            settings.recorded["density"] = nil
            settings.recorded["sparse_options"] = nil
        }
        request.density = try settings.value("density", method.density)
        let options = (settings.recorded["sparse_options"] ?? "").split(separator: ",").map(String.init)
        request.sparseOptions = try MethodCatalogue.parse(options).merging(method.options()) { $1 }
        request.origins.merge(settings.origins) { $1 }
    }
}
