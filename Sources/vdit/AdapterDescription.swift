import VDiT

/// A file of low-rank factors and differences, without a model at hand.
struct AdapterDescription: Description {
    let path: String
    let bytes: Int
    /// Published models whose layers it fits.
    let models: [String]
    let ranks: [Int]
    let layers: Int
    let differences: Int
    let alphas: Int
    let dtypes: [String]
    let metadata: [String: String]
    /// Inputs of most of its layers, which tell the model's size.
    let width: Int?

    /// Nil for a file that is no adapter.
    ///
    /// - Throws: as `AdapterFile` for one that is damaged or of a kind that is not supported.
    init?(_ path: String) throws {
        let file = try SafetensorsReader(path)
        guard AdapterFile.isAdapter(file.names) else { return nil }
        let adapter = try AdapterFile(path)
        self.path = path
        models = try ModelCatalogue.published().filter {
            (try? Adapter(adapter, for: $0.specification.transformer.adapterNames)) != nil
        }.map(\.name)
        width = adapter.inputWidths.first
        bytes = file.byteCount
        ranks = adapter.ranks.map { Array(Set([$0.lowerBound, $0.upperBound])).sorted() } ?? []
        (layers, differences, alphas) = (adapter.factorCount, adapter.differenceCount, adapter.alphaCount)
        dtypes = adapter.types
        metadata = file.metadata
        rankText = adapter.rankText
    }

    private let rankText: String

    private enum CodingKeys: String, CodingKey {
        case path, bytes, models, ranks, layers, differences, alphas, dtypes, metadata, width
    }

    var text: String {
        var rows = [
            ["file", "\(path) (\(Bytes.text(bytes)))"],
            ["holds", "an adapter (LoRA): \(rankText), \(layers) layers + \(differences) differences"],
            [
                "fits", models.isEmpty
                    ? "no published model known here; its layers take \(width.map(String.init) ?? "no") inputs"
                    : models.joined(separator: ", "),
            ],
            ["stored", dtypes.joined(separator: ", ")],
            ["alpha", alphas == 0 ? "none: factors count as they are" : "in \(alphas) of \(layers) layers"],
        ]
        rows += metadata.sorted { $0.key < $1.key }.map { [$0.key.onOneLine, $0.value.onOneLine] }
        return Console.table(rows)
    }
}
