import Foundation
import Testing
import VDiT

/// One case of `Tests/Golden/methods`: its arrays and its parameters.
public struct MethodGolden {
    public let name: String
    private let reader: SafetensorsReader
    public let parameters: [String: Any]

    public init(_ name: String) throws {
        self.name = name
        reader = try SafetensorsReader(Golden.path("methods/\(name).safetensors"))
        let json = try Data(contentsOf: URL(fileURLWithPath: Golden.path("methods/\(name).json")))
        parameters = try JSONSerialization.jsonObject(with: json) as? [String: Any] ?? [:]
    }

    public func has(_ array: String) -> Bool { reader.info(array) != nil }
    public func tensor(_ array: String) throws -> Tensor { try reader.tensor(array) }
    public func floats(_ array: String) throws -> [Float] { try reader.tensor(array).floats() }
    public func integers(_ array: String) throws -> [Int] {
        try reader.tensor(array).withBytes { $0.bindMemory(to: Int32.self).map(Int.init) }
    }
    public func bytes(_ array: String) throws -> [UInt8] { try reader.tensor(array).withBytes { Array($0) } }

    /// A bit-packed mask of the last axis's `columns` bits.
    public func mask(_ array: String, columns: Int) throws -> [[Bool]] {
        let packed = try reader.tensor(array)
        let bytes = packed.withBytes { Array($0) }
        return (0..<packed.rowCount).map { row in
            (0..<columns).map { bytes[row * packed.columns + $0 >> 3] >> UInt8($0 & 7) & 1 == 1 }
        }
    }

    public func integer(_ parameter: String) -> Int { parameters[parameter] as? Int ?? 0 }
    public func number(_ parameter: String) -> Double { parameters[parameter] as? Double ?? 0 }
    public func cases() -> [(name: String, parameters: [String: Any])] {
        (parameters["cases"] as? [String: [String: Any]] ?? [:]).sorted { $0.key < $1.key }
            .map { ($0.key, $0.value) }
    }
}

/// Sequences of calls and what methods make of them.
public enum MethodCase {
    /// Rows `[tokens, heads · dim]`, some of them, as `[heads, tokens, dim]`.
    public static func headMajor(_ rows: [Float], heads: Int, dim: Int, tokens: [Int]) -> Tensor {
        var values: [Float] = []
        for head in 0..<heads {
            for token in tokens {
                let start = (token * heads + head) * dim
                values += rows[start..<start + dim]
            }
        }
        return Tensor(values, shape: [heads, tokens.count, dim])
    }

    public static func call(
        q: Tensor, k: Tensor, v: Tensor, gate: Tensor? = nil, projection: Linear? = nil, layout: TokenLayout,
        step: Int = 0, steps: Int = 50, layer: Int = 0, branch: AttentionSite.Branch = .conditional, pool: WorkPool = WorkPool(threads: 2),
        instructionSet: InstructionSet? = nil
    ) -> AttentionCall {
        AttentionCall(
            q: q, k: k, v: v, gate: gate, projection: projection, layout: layout, site: AttentionSite(layer: layer, branch: branch),
            step: step, steps: steps, pool: pool,
            instructionSet: instructionSet ?? InstructionSet.supported.max() ?? .scalar)
    }

    /// Random operands.
    public static func call(
        _ layout: TokenLayout, heads: Int = 2, headDim: Int = 16, dtype: DType = .f32, step: Int = 0,
        steps: Int = 50, layer: Int = 0, branch: AttentionSite.Branch = .conditional,
        pool: WorkPool = WorkPool(threads: 2), _ random: inout SeededRandom
    ) -> AttentionCall {
        let shape = [heads, layout.tokens, headDim]
        // From numbers of their own: most methods take none.
        var other = SeededRandom(seed: random.seed)
        let gate = AttentionCase.normal([layout.tokens, heads, headDim], dtype, &other)
        let projection = try? Self.projection(AttentionCase.normal([headDim, headDim], .f32, &other))
        return call(
            q: AttentionCase.normal(shape, dtype, &random), k: AttentionCase.normal(shape, dtype, &random),
            v: AttentionCase.normal(shape, dtype, &random), gate: gate, projection: projection, layout: layout,
            step: step, steps: steps, layer: layer, branch: branch, pool: pool)
    }

    /// A layer from values of a head to values.
    public static func projection(_ weights: Tensor, bias: [Float] = []) throws -> Linear {
        try Linear(
            weights: [weights], biases: bias.isEmpty ? [] : [Tensor(bias)], operand: .f32,
            on: InstructionSet.supported.max() ?? .scalar)
    }

    /// `[query block][key block]`.
    public static func blockMask(_ head: AttentionPlan.Head) -> [[Bool]] {
        (0..<head.queryBlocks).map { row in
            var keeps = [Bool](repeating: false, count: head.keyBlockCount)
            for block in head.kept(row) { keeps[Int(block)] = true }
            return keeps
        }
    }

    /// `[query token][key token]`.
    public static func tokenMask(_ head: AttentionPlan.Head) -> [[Bool]] {
        let tokens = Int(head.queryOffsets.last ?? 0)
        var mask = [[Bool]](repeating: [Bool](repeating: false, count: tokens), count: tokens)
        for row in 0..<head.queryBlocks {
            let keys = head.kept(row).flatMap { block in
                (head.keyOffsets[Int(block)]..<head.keyOffsets[Int(block) + 1]).map {
                    Int(head.keyOrder?[Int($0)] ?? $0)
                }
            }
            for position in Int(head.queryOffsets[row])..<Int(head.queryOffsets[row + 1]) {
                let query = head.queryOrder.map { Int($0[position]) } ?? position
                for key in keys { mask[query][key] = true }
            }
        }
        return mask
    }

    /// The largest absolute difference.
    public static func distance(_ found: [Float], _ expected: [Float]) -> Float {
        precondition(found.count == expected.count)
        return zip(found, expected).reduce(0) { max($0, abs($1.0 - $1.1)) }
    }
}

/// A method as the catalogue makes it.
public struct MethodExample: Sendable, CustomTestStringConvertible {
    public let name: String
    public let options: [String: String]
    public let density: Double?
    private let table: HeadTable?

    public init(
        _ name: String, _ options: [String: String] = [:], density: Double? = nil, table: HeadTable? = nil
    ) {
        self.name = name
        self.options = options
        self.density = density
        self.table = table
    }

    /// With other options.
    public func with(_ options: [String: String]) -> MethodExample {
        MethodExample(name, self.options.merging(options) { $1 }, density: density, table: table)
    }

    /// Dense steps and layers off, unless the options say otherwise.
    public func configured() throws -> ConfiguredMethod {
        let off = name == "dense" ? [:] : ["dense-steps": "0", "dense-layers": "0"]
        return try MethodChoice(name, options: off.merging(options) { $1 }, density: density)
            .configured(table: table)
    }

    public var testDescription: String {
        ([name] + options.sorted { $0.key < $1.key }.map { "\($0)=\($1)" }
            + (density.map { ["density \($0)"] } ?? []) + (table == nil ? [] : ["table"])).joined(separator: " ")
    }

    /// What the catalogue offers: every method by itself, with each preset, with each option at its least value and at
    /// each of its choices, and with a density. Which calls stay dense is no matter of plans.
    public static let catalogue: [MethodExample] = MethodCatalogue.methods.flatMap { method in
        [MethodExample(method.name)]
            + method.presets.map { MethodExample(method.name, ["preset": $0.name]) }
            + method.options.filter { !$0.name.hasPrefix("dense-") }.flatMap { option in
                values(of: option).filter { $0 != option.defaultSetting.text }
                    .map { MethodExample(method.name, [option.name: $0]) }
            }
            + (method.densityOptions.isEmpty || coarse.contains(method.name)
                ? [] : [MethodExample(method.name, density: 0.9)])
    }

    /// Methods that have few densities on small grids; `all` has some that they reach.
    private static let coarse = ["sta", "sparse-vdit"]

    /// The choices of an option, or the least number of its range, as the range names them.
    private static func values(of option: any AnyMethodOption) -> [String] {
        option.range.components(separatedBy: " or ")
            .map { $0.components(separatedBy: " from ").last ?? $0 }
            .map { $0.components(separatedBy: " to ")[0] }.filter { option.setting($0) != nil }
    }

    /// Those of the catalogue, and options that make a method take other paths together or at small sizes.
    public static let all: [MethodExample] = catalogue + [
        .init("radial", ["block": "16", "sink": "off", "edges": "repaired"]),
        .init("radial", ["decay": "0.05", "block": "16", "decay-neighbours": "on"]),
        .init("radial", ["block": "16"], density: 0.94),
        .init("svg2", ["query-clusters": "7", "key-clusters": "13", "top-p": "0.5"]),
        .init("svg2", ["query-clusters": "300", "key-clusters": "300"], density: 0.4),
        .init("draft", ["pool-height": "3", "pool-width": "4"]),
        .init("draft", ["pool-height": "3", "pool-width": "4", "cut": "ragged", "sparsity": "0.9"]),
        .init("draft", ["pool-height": "2", "pool-width": "5"], density: 0.3),
        .init("rettention", ["clamp": "off", "residual-type": "f32", "refresh-every": "2"]),
        .init("rettention", ["ratio": "off"], density: 0.5),
        .init("radial", ["preset": "reference", "block": "64"]),
        .init("draft", ["preset": "reference", "pool-height": "3", "pool-width": "4", "sparsity": "0.95"]),
        .init("rettention", ["rest": "pooled", "kept": "0.2"]),
        .init("adaspa", ["block": "16", "sparsity": "0.5", "refresh-every": "3"]),
        .init("mass", ["refresh-every": "3", "full-steps": "2", "ramp": "0.5"], density: 0.6),
        .init("mass", ["order": "raster", "residual": "5", "branches": "apart"], density: 0.5),
        .init("mass", ["order": "positions", "block": "20", "even": "1", "neighbours": "on"]),
        .init("radial", ["block": "16", "density-steps": "50%:1", "density-layers": "1:1"], density: 0.94),
        .init("rettention", ["refresh-every": "5", "density-steps": "50%:1"], density: 0.5),
        .init("adaspa", ["block": "16", "refresh-every": "5", "density-steps": "50%:0.7"], density: 0.5),
        .init("mass", ["refresh-every": "3", "density-steps": "2:0.9+6:0.7", "density-layers": "1:0.8"], density: 0.6),
        .init("draft", ["rest": "pooled", "pool-height": "3", "pool-width": "4", "sparsity": "0.9"]),
        .init("xattention", ["block": "16", "stride": "3", "mass": "0.4", "own": "off", "first-block": "off"]),
        .init("xattention", ["order": "tiles", "stride": "4"], density: 0.6),
        .init("sparge", ["block": "24", "key-block": "7", "mass": "0.3", "similarity": "0.05", "own": "off"]),
        .init("sparge", ["order": "tiles", "key-block": "16", "rest": "pooled"], density: 0.6),
        .init("jenga", ["block": "16", "neighbours": "off", "sparsity": "0.9"]),
        .init("jenga", ["block": "12"], density: 0.95),
        .init("sla", ["block": "16", "kept": "0.4", "features": "relu"]),
        .init("sla", ["order": "tiles", "linear": "unkept", "key-block": "7", "features": "elu"], density: 0.8),
        .init("asa", ["block": "16", "run": "4", "own": "off"]),
        .init("asa", ["block": "20", "run": "6", "sample-every": "3"], density: 0.6),
        .init("gna", ["window-frames": "0.4", "stride-frames": "1", "stride-height": "3", "rest": "pooled"]),
        .init("psa", ["block": "16", "key-block": "6", "ends-in": "mass", "own": "off"]),
        .init("psa", ["order": "tiles", "key-block": "8"], density: 0.6),
        .init("svg1", ["block": "16", "rest": "rectified"]),
        .init("svg1", ["block": "20", "sink": "off", "sample": "7"], density: 0.6),
        .init("vmoba", ["mass": "0.6", "query-block": "9", "box-frames": "1", "dense-layers": "1"]),
        .init("vmoba", ["query-block": "5", "rest": "rectified"], density: 0.8),
        .init("svg2", ["query-clusters": "7", "key-clusters": "13", "top-p": "0.5", "rest": "rectified"]),
        .init("grat", ["group-frames": "2", "group-height": "3", "group-width": "4", "rest": "pooled"]),
        .init("grat", ["keys": "box", "group-height": "2", "group-width": "3", "window-frames": "1"]),
        .init("grat", ["keys": "box"], density: 0.53),
        .init("sta", ["tile-frames": "2", "tile-height": "3", "tile-width": "4", "window-frames": "1"]),
        .init("sta", density: 0.82), .init("sta", ["rest": "rectified"], density: 0.43),
        .init("sta", table: table([["window-frames": "1"], ["tile-width": "2", "window-width": "1"]])),
        .init("sparse-vdit", ["block": "16", "mode": "positions", "rest": "pooled"]),
        .init("sparse-vdit", ["block": "16", "mode": "stripe"], density: 0.6),
        .init("sparse-vdit", ["block": "16"], density: 0.9),
        .init(
            "sparse-vdit",
            table: table(["skip", "diagonal", "positions", "stripe"].map { ["mode": $0, "block": "16"] })),
        .init("mass", ["rest": "rectified", "residual": "4", "refresh-every": "3"], density: 0.4),
    ]

    /// A table of two layers of two heads in which everything comes to pass.
    private static func table(_ patterns: [[String: String]]) -> HeadTable? {
        HeadTable(
            patterns: patterns,
            heads: (0..<50).map { step in
                (0..<2).map { layer in (0..<2).map { (step + 2 * layer + $0) % (patterns.count + 1) } }
            })
    }

    /// Whether heads may be left out as a whole, text with them.
    public var skipsHeads: Bool { name == "sparse-vdit" && (table != nil || options["mode"] == "skip") }

    /// Why a method may leave a query block without keys; nil where it may not.
    public var excuseForEmptyRows: String? {
        let chosen = options["preset"] == "reference" ? "reference" : options["edges"] ?? options["selection"]
        switch (name, chosen) {
        case ("radial", "reference"):
            return "the reference leaves out the borders of frames that fill no whole blocks"
        case ("draft", "reference"), ("draft", "threshold"):
            return "the reference's threshold is one for all regions of a head"
        case ("sparse-vdit", _) where skipsHeads:
            return "heads of one of its modes are skipped"
        default: return nil
        }
    }

    /// Configurations that keep everything.
    public static let keepingAll: [MethodExample] = [
        .init("dense"), .init("radial", ["decay": "100", "skip-below": "0"]),
        .init("radial", density: 1),
        .init("svg2", ["top-p": "1", "query-clusters": "6", "key-clusters": "9"]),
        .init("svg2", ["query-clusters": "6", "key-clusters": "9"], density: 1),
        .init("svg2", ["least-keys": "1", "query-clusters": "6", "key-clusters": "9"]),
        .init("draft", ["sparsity": "0", "pool-height": "3", "pool-width": "4"]),
        .init("draft", ["preset": "reference", "sparsity": "0", "pool-height": "3", "pool-width": "4"]),
        .init("draft", ["pool-height": "3", "pool-width": "4"], density: 1),
        .init("rettention", ["kept": "2"]), .init("rettention", density: 1),
        .init("adaspa", ["sparsity": "0", "block": "16"]), .init("adaspa", ["block": "16"], density: 1),
        .init("mass", ["kept": "1"]), .init("mass", ["order": "raster"], density: 1),
        .init("xattention", ["mass": "1", "block": "16"]), .init("xattention", ["block": "16"], density: 1),
        .init("sparge", ["mass": "1", "block": "16"]), .init("sparge", ["block": "16", "key-block": "5"], density: 1),
        .init("jenga", ["sparsity": "0", "block": "16"]), .init("jenga", ["mass": "1", "block": "16"]),
        .init("jenga", ["block": "16"], density: 1),
        .init("sla", ["linear": "unkept", "kept": "1", "block": "16"]), .init("sla", ["linear": "unkept"], density: 1),
        .init("asa", ["mass": "1", "most": "1", "block": "16"]), .init("asa", ["block": "16"], density: 1),
        .init("gna", ["window-frames": "1", "window-height": "1", "window-width": "1"]), .init("gna", density: 1),
        .init("grat", ["group-frames": "9"]), .init("grat", ["keys": "box"], density: 1), .init("grat", density: 1),
        .init("sta", ["window-frames": "9", "window-height": "8"]), .init("sta", density: 1),
        .init("sparse-vdit", ["kept": "1", "block": "16"]), .init("sparse-vdit", ["mode": "positions"], density: 1),
        .init("sparse-vdit", ["mode": "stripe", "kept": "1", "block": "16"]),
        .init("psa", ["exact": "1", "block": "16"]), .init("psa", ["block": "16", "key-block": "5"], density: 1),
        .init("svg1", ["kept": "1", "block": "16"]), .init("svg1", ["rest": "rectified"], density: 1),
        .init("vmoba", ["mass": "1"]), .init("vmoba", ["query-block": "5", "rest": "rectified"], density: 1),
    ]
}

extension TokenLayout {
    /// A layout with few tokens: extents from 1 on, text before, behind, both or none.
    public static func random(_ random: inout SeededRandom) -> TokenLayout {
        TokenLayout(
            frames: .random(in: 1...7, using: &random), height: .random(in: 1...11, using: &random),
            width: .random(in: 1...13, using: &random),
            textBefore: Bool.random(using: &random) ? 0 : .random(in: 1...20, using: &random),
            textAfter: Bool.random(using: &random) ? 0 : .random(in: 1...140, using: &random))
    }
}
