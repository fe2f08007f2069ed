import VditTensor

/// An adapter file laid against one model: what it adds to which tensor.
public struct Adapter: Sendable {
    /// What is added to one tensor, before the strength.
    enum Change: Sendable {
        /// The product of two tensors of the file, times a factor.
        case product(up: String, down: String, factor: Double)
        /// A tensor of the file, times a factor.
        case difference(String, factor: Double)
    }

    public let file: AdapterFile
    /// Modules of this model that get a product, and how many could.
    public let layers: (changed: Int, all: Int)
    /// What a person should know of it, in sentences.
    public let notices: [String]
    private let changes: [String: [Change]]

    /// - Throws: `ModelError.adapter` (65) with everything that does not fit the model.
    public init(_ file: AdapterFile, for names: AdapterNames) throws(ModelError) {
        var check = Check(file: file, names: names, problems: file.problems)
        check.run()
        if !check.problems.isEmpty { throw .adapter(path: file.path, check.problems) }
        self.file = file
        changes = check.changes
        let all = names.modules.values.count { ($0.weight?.shape.count ?? 0) >= 2 && $0.bias != nil }
        layers = (check.products, all)
        var notices: [String] = []
        if !file.textEncoderKeys.isEmpty {
            notices.append(
                "\(file.path): \(file.textEncoderKeys.count) tensors of a text encoder's adapter are left out")
        }
        if !check.absent.isEmpty {
            notices.append(
                "\(file.path): \(check.absent.count) modules that this model does not have (made for an "
                    + "image-to-video model) are left out")
        }
        if check.zeroScales > 0 {
            notices.append(
                "\(file.path): alpha is 0 in \(check.zeroScales) of \(check.products) layers, which stay as they are")
        }
        self.notices = notices
    }

    /// What to add to a tensor of the model.
    func changes(of tensor: String) -> [Change] { changes[tensor] ?? [] }

    /// Names of the tensors it changes.
    public var changedTensors: [String] { changes.keys.sorted() }
}

/// The comparison of a file with a model.
private struct Check {
    let file: AdapterFile
    let names: AdapterNames
    var problems: AdapterProblems
    var changes: [String: [Adapter.Change]] = [:]
    var products = 0
    var zeroScales = 0
    /// Modules of other models of the family.
    var absent: [String] = []
    /// The file's name of every module met.
    private var seen: [String: String] = [:]
    /// Factors whose width is wrong: what the file has, what the layer takes.
    private var widths: [(found: Int, expected: Int)] = []

    init(file: AdapterFile, names: AdapterNames, problems: AdapterProblems) {
        self.file = file
        self.names = names
        self.problems = problems
    }

    mutating func run() {
        for (name, parts) in file.modules.sorted(by: { $0.key < $1.key }) {
            let key = parts.values.min() ?? name
            switch names.match(name) {
            case .unknown: problems.add("no such module in this model", key)
            case .beyond: problems.add("a block beyond the model's last", key)
            case .absent: absent.append(key)
            case .module(let module):
                if let other = seen[module] {
                    // Two spellings of one module may share the work, but not a part of it.
                    let twice = parts.keys.filter { file.modules[other]?[$0] != nil }
                    if !twice.isEmpty || parts[.down] != nil || parts[.up] != nil {
                        problems.add("one module under two names, as \(other) too", key)
                        continue
                    }
                }
                seen[module] = name
                factors(of: name, parts, names.modules[module] ?? AdapterNames.Module())
                differences(of: name, parts, names.modules[module] ?? AdapterNames.Module())
            }
        }
        if changes.isEmpty, problems.isEmpty {
            for key in absent { problems.add("only modules of image-to-video models, which this model lacks", key) }
        }
        explainWidths()
    }

    private func shape(_ key: String) -> [Int] { file.reader.info(key)?.shape ?? [] }

    /// The product of two factors and peft's bias of the second.
    private mutating func factors(
        of name: String, _ parts: [AdapterKey.Part: String], _ module: AdapterNames.Module
    ) {
        guard let down = parts[.down], let up = parts[.up] else {
            if let down = parts[.down] { problems.add("a first factor without the second", down) }
            if let up = parts[.up] { problems.add("a second factor without the first", up) }
            for part in [AdapterKey.Part.alpha, .upBias] {
                if parts[.down] == nil, parts[.up] == nil, let key = parts[part] {
                    problems.add("\(part.rawValue) without factors", key)
                }
            }
            return
        }
        guard let weight = module.weight, weight.shape.count >= 2 else {
            problems.add("factors for what is no matrix", down)
            return
        }
        let (first, second) = (shape(down), shape(up))
        let (rank, outputs) = (first.first ?? 0, weight.shape[0])
        let inputs = weight.shape.dropFirst().reduce(1, *)
        guard rank > 0, first.count >= 2, second.count >= 2 else {
            problems.add("factors of shapes \(first) and \(second), which have no rank", down)
            return
        }
        guard second[1] == rank else {
            problems.add("factors of rank \(rank) and \(second[1])", down)
            return
        }
        if !first.dropFirst().elementsEqual([inputs]), first.dropFirst() != weight.shape.dropFirst() {
            problems.add("a first factor \(first) where the layer takes \(inputs)", down)
            widths.append((first[1], inputs))
        }
        if second[0] != outputs || second.dropFirst(2).contains(where: { $0 != 1 }) {
            problems.add("a second factor \(second) where the layer gives \(outputs)", up)
            widths.append((second[0], outputs))
        }
        let scale = file.scale(of: name, rank: rank)
        products += 1
        if scale == 0 { zeroScales += 1 }
        changes[weight.name, default: []].append(.product(up: up, down: down, factor: scale))
        if let key = parts[.upBias] { difference(key, of: module.bias, factor: scale) }
    }

    private mutating func differences(
        of name: String, _ parts: [AdapterKey.Part: String], _ module: AdapterNames.Module
    ) {
        if let key = parts[.difference] { difference(key, of: module.weight, factor: 1) }
        if let key = parts[.biasDifference] { difference(key, of: module.bias, factor: 1) }
        if let key = parts[.tableDifference] { difference(key, of: module.table, factor: 1) }
    }

    private mutating func difference(
        _ key: String, of tensor: (name: String, shape: [Int])?, factor: Double
    ) {
        guard let tensor else {
            problems.add("a difference of what this model does not have", key)
            return
        }
        // Tables come with and without their leading 1.
        guard shape(key).drop(while: { $0 == 1 }) == tensor.shape.drop(while: { $0 == 1 }) else {
            problems.add("a difference \(shape(key)) of a tensor \(tensor.shape)", key)
            return
        }
        changes[tensor.name, default: []].append(.difference(key, factor: factor))
    }

    /// Says once what all wrong widths have in common, where they have something in common.
    private mutating func explainWidths() {
        guard let first = widths.first, widths.count > 1,
            widths.allSatisfy({ Double($0.found) * Double(first.expected) == Double($0.expected) * Double(first.found) })
        else { return }
        let width = file.inputWidths.first ?? first.found
        let size = names.sizes[width].map { "a \($0) model" } ?? "a model of width \(width)"
        problems.add("every layer misses by the same factor", "made for \(size)")
    }
}
