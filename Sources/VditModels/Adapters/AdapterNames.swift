/// All names by which an adapter may call a model's modules.
///
/// One table and no rewriting: a name is looked up as it stands, or, for kohya's files, with underscores for dots.
public struct AdapterNames: Sendable {
    /// The tensors of one module. A table stands alone, without `weight` and `bias`.
    struct Module: Sendable {
        var weight: (name: String, shape: [Int])?
        var bias: (name: String, shape: [Int])?
        var table: (name: String, shape: [Int])?
    }

    /// The modules this model has, by their name in its own checkpoint; "" is the model itself.
    let modules: [String: Module]
    private let names: [String: String]
    private let underscored: [String: String]
    /// Names of the model's published sizes, by the width of its residual stream.
    let sizes: [Int: String]

    /// - Parameters:
    ///   - tensors: every tensor of the model.
    ///   - aliases: other names of modules. One whose module this model lacks belongs to another model of the family.
    ///   - sizes: names of published sizes by width, for messages.
    public init(
        tensors: [(name: String, shape: [Int])], aliases: [(name: String, module: String)],
        sizes: [Int: String] = [:]
    ) {
        var modules: [String: Module] = [:]
        for tensor in tensors {
            let end = tensor.name.lastIndex(of: ".")
            let owner = end.map { String(tensor.name[..<$0]) } ?? ""
            switch end.map({ tensor.name[$0...] }) {
            case ".weight": modules[owner, default: Module()].weight = tensor
            case ".bias": modules[owner, default: Module()].bias = tensor
            default:
                modules[owner, default: Module()].table = tensor
                modules[tensor.name, default: Module()].weight = tensor
            }
        }
        var names = Dictionary(modules.keys.map { ($0, $0) }, uniquingKeysWith: { first, _ in first })
        for (name, module) in aliases {
            names[name] = module
            names[module] = module
        }
        self.modules = modules
        self.names = names
        underscored = Dictionary(
            names.map { (Self.withUnderscores($0.key), $0.value) }, uniquingKeysWith: { min($0, $1) })
        self.sizes = sizes
    }

    private static func withUnderscores(_ name: String) -> String {
        String(name.map { $0 == "." ? "_" : $0 })
    }

    /// What a name in a file stands for.
    enum Match: Equatable {
        /// A module of this model.
        case module(String)
        /// One that other models of the family have.
        case absent
        /// A block beyond the last one.
        case beyond(block: Int)
        case unknown
    }

    private static let prefixes = ["diffusion_model.", "transformer.", "base_model.model.", "model."]
    private static let kohya = "lora_unet_"

    /// Looks a module up as a file names it, with any of the prefixes that programs put before it.
    func match(_ name: String) -> Match {
        var rest = Substring(name)
        while true {
            if let module = module(rest) { return modules[module] == nil ? .absent : .module(module) }
            guard let prefix = Self.prefixes.first(where: { rest.hasPrefix($0) }) else { break }
            rest = rest.dropFirst(prefix.count)
        }
        // The first number of a name is its block.
        guard let start = rest.firstIndex(where: \.isASCIIDigit) else { return .unknown }
        let digits = rest[start...].prefix(while: \.isASCIIDigit)
        let first = rest[..<start] + "0" + rest[digits.endIndex...]
        guard let block = Int(digits), module(Substring(first)) != nil else { return .unknown }
        return .beyond(block: block)
    }

    private func module(_ name: Substring) -> String? {
        name.hasPrefix(Self.kohya)
            ? underscored[Self.withUnderscores(String(name.dropFirst(Self.kohya.count)))] : names[String(name)]
    }
}

extension Character {
    fileprivate var isASCIIDigit: Bool { isASCII && isNumber }
}
