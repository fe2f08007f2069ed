import VditTensor

extension RunRecord {
    /// The settings of the sampler, each a property: `sampling.steps`.
    @dynamicMemberLookup
    public struct Sampling: Sendable, Codable, Equatable {
        private var values: [String: RecordedValue] = [:]

        init(_ settings: RenderSettings) {
            for row in Self.rows { values[Self.key(row.name)] = settings.values[row.name]?.recorded }
            values["rng"] = .text("torch-cpu")
        }

        /// Nil where a run has no such setting, or was recorded before there was one.
        public subscript<Value>(dynamicMember row: KeyPath<SettingTable, Setting<Value>>) -> Value? {
            values[Self.key(SettingTable.rows[keyPath: row].name)].flatMap(Value.init(recorded:))
        }

        private static let rows = SettingTable.all.filter { $0.isRecorded && $0.effect != .file }

        /// A setting's name as the coders of records have it.
        private static func key(_ name: String) -> String {
            let words = name.split(separator: "_")
            let capitalized = words.dropFirst().map { $0.prefix(1).uppercased() + $0.dropFirst() }
            return words.prefix(1).joined() + capitalized.joined()
        }

        private struct Key: CodingKey {
            let stringValue: String
            var intValue: Int? { nil }
            init(stringValue: String) { self.stringValue = stringValue }
            init?(intValue: Int) { nil }
        }

        public func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Key.self)
            for (key, value) in values { try container.encode(value, forKey: Key(stringValue: key)) }
        }

        public init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: Key.self)
            for row in Self.rows {
                let key = Key(stringValue: Self.key(row.name))
                guard container.contains(key) else { continue }
                let recorded = try container.decode(RecordedValue.self, forKey: key)
                guard let value = row.value(recorded) else {
                    throw DecodingError.dataCorruptedError(
                        forKey: key, in: container, debugDescription: "expected \(row.kind.expected)")
                }
                values[key.stringValue] = value.recorded
            }
            values["rng"] = try container.decodeIfPresent(RecordedValue.self, forKey: Key(stringValue: "rng"))
        }
    }
}
