import VditFiles

/// A tensor's key in an adapter file, taken apart.
struct AdapterKey {
    /// What a tensor is to its module.
    enum Part: String {
        case down = "a first factor"
        case up = "a second factor"
        case alpha
        case difference = "a difference of a weight"
        case biasDifference = "a difference of a bias"
        case tableDifference = "a difference of a table"
        /// peft's `lora_bias`: scaled as the factors are.
        case upBias = "a bias of the second factor"
    }

    /// Everything before the suffix.
    let module: String
    let part: Part

    /// What a key is when it is not a part of a module.
    enum Other {
        /// A kind of adapter with another formula.
        case unsupported(String)
        case textEncoder
        /// No suffix an adapter has.
        case plain
    }

    static func parse(_ key: String) -> Result<AdapterKey, NoPart> {
        if ["lora_te", "text_encoder"].contains(where: { key.hasPrefix($0) }) { return .failure(NoPart(.textEncoder)) }
        for (word, kind) in unsupported where key.contains(word) { return .failure(NoPart(.unsupported(kind))) }
        var words = key.split(separator: ".", omittingEmptySubsequences: false)
        func result(_ count: Int, _ part: Part) -> Result<AdapterKey, NoPart> {
            .success(AdapterKey(module: words.dropLast(count).joined(separator: "."), part: part))
        }
        switch words.last {
        case "alpha": return result(1, .alpha)
        case "diff": return result(1, .difference)
        case "diff_b": return result(1, .biasDifference)
        case "diff_m": return result(1, .tableDifference)
        default: break
        }
        guard words.count >= 3, let last = words.last, last == "weight" || last == "bias" else {
            return .failure(NoPart(.plain))
        }
        // peft puts the adapter's own name, any word, before the last one.
        if words.count >= 4, ["lora_A", "lora_B"].contains(words[words.count - 3]) { words.remove(at: words.count - 2) }
        switch (words[words.count - 2], last) {
        case ("lora_A", "weight"), ("lora_down", "weight"): return result(2, .down)
        case ("lora_B", "weight"), ("lora_up", "weight"): return result(2, .up)
        case ("lora_B", "bias"): return result(2, .upBias)
        default: return .failure(NoPart(.plain))
        }
    }

    struct NoPart: Error {
        let other: Other
        init(_ other: Other) { self.other = other }
    }

    private static let unsupported = [
        (".dora_scale", "DoRA"), (".lora_magnitude_vector", "DoRA"), (".hada_", "LoHa"), (".lokr_", "LoKr"),
        (".oft_", "OFT"), (".lora_mid.", "LoRA in Tucker form"), (".glora", "GLoRA"), (".boft_", "BOFT"),
        ("vace_blocks.", "a VACE adapter"), (".ip_adapter", "an image-prompt adapter"),
        (".reshape_weight", "a patch that reshapes weights"), (".set_weight", "a patch that replaces weights"),
    ]
}

/// What is wrong with an adapter file, all of it.
public struct AdapterProblems: Sendable, Equatable, CustomStringConvertible {
    private struct Group: Sendable, Equatable {
        let reason: String
        var keys: [String]
    }
    private var groups: [Group] = []
    /// Whether the file is of a kind we do not have, rather than broken.
    public private(set) var isUnsupported = false

    var isEmpty: Bool { groups.isEmpty }

    mutating func add(_ reason: String, _ key: String, unsupported: Bool = false) {
        if unsupported { isUnsupported = true }
        if let index = groups.firstIndex(where: { $0.reason == reason }) {
            groups[index].keys.append(key)
        } else {
            groups.append(Group(reason: reason, keys: [key]))
        }
    }

    /// One line; the first ten keys of all are named.
    public var description: String {
        var left = 10
        return groups.map { group in
            let named = group.keys.prefix(left)
            left -= named.count
            let hidden = group.keys.count - named.count
            let rest = hidden > 0 ? ["\(hidden)\(named.isEmpty ? "" : " more") keys"] : []
            return "\(group.reason): \((named.map(\.shortened) + rest).joined(separator: ", "))"
        }.joined(separator: "; ")
    }
}
