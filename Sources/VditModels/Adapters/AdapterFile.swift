import VditFiles
import VditTensor

/// A file of low-rank factors and differences (LoRA), read and checked as far as that goes without a model.
///
/// - Source: the names of peft, diffusers, kohya, musubi-tuner, ComfyUI and LightX2V files.
public struct AdapterFile: Sendable {
    public let path: String
    let reader: SafetensorsReader
    /// Parts by the module's name in the file.
    let modules: [String: [AdapterKey.Part: String]]
    /// Keys of a text encoder's adapter, which is passed over.
    let textEncoderKeys: [String]
    let metadata: AdapterMetadata?
    let problems: AdapterProblems

    /// Opens a file and reads every value once.
    ///
    /// What is wrong with single tensors is kept for the model's check, so that a caller hears of everything at once.
    /// - Throws: `FileError` for a file that is missing or no safetensors, `ModelError.unsupported` for a pickle;
    ///   `ModelError.adapter` (65) for one without a tensor or without a part of an adapter, (69) for a kind with
    ///   another formula or a text encoder's.
    public init(_ path: String) throws { try self.init(Self.open(path)) }

    /// The same of a file that is open.
    public init(_ reader: SafetensorsReader) throws {
        let path = reader.path
        self.path = path
        self.reader = reader
        metadata = try AdapterMetadata(reader.metadata, path: path)
        var modules: [String: [AdapterKey.Part: String]] = [:]
        var problems = AdapterProblems()
        var textEncoderKeys: [String] = []
        var plain: [String] = []
        for name in reader.names {
            switch AdapterKey.parse(name) {
            case .success(let key):
                if let other = modules[key.module]?[key.part] {
                    problems.add("\(key.part.rawValue) twice, as \(other) too", name)
                }
                modules[key.module, default: [:]][key.part] = name
            case .failure(let failure):
                switch failure.other {
                case .unsupported(let kind): problems.add("\(kind), which is not supported", name, unsupported: true)
                case .textEncoder: textEncoderKeys.append(name)
                case .plain: plain.append(name)
                }
            }
        }
        if metadata?.usesDoRA == true, let name = reader.names.first {
            problems.add("DoRA, which is not supported", name, unsupported: true)
        }
        for pattern in metadata?.unknownPatterns ?? [] {
            problems.add("patterns of alpha or rank that are more than the end of a name", pattern, unsupported: true)
        }
        if modules.isEmpty, problems.isEmpty {
            if reader.names.isEmpty { problems.add("no tensor", "the file is empty") }
            for name in plain { problems.add("a model's tensors, not an adapter's", name) }
            for name in textEncoderKeys { problems.add("an adapter of a text encoder only", name, unsupported: true) }
        } else {
            for name in plain { problems.add("tensors without a suffix that adapters have", name) }
        }
        if modules.isEmpty || problems.isUnsupported { throw ModelError.adapter(path: path, problems) }
        Self.checkValues(reader, modules, &problems)
        self.modules = modules
        self.textEncoderKeys = textEncoderKeys
        self.problems = problems
    }

    /// Whether a file with tensors of these names is one, of whatever kind.
    public static func isAdapter(_ names: [String]) -> Bool {
        names.contains { name in
            switch AdapterKey.parse(name) {
            case .success: true
            case .failure(let failure): if case .plain = failure.other { false } else { true }
            }
        }
    }

    private static func open(_ path: String) throws -> SafetensorsReader {
        do {
            return try SafetensorsReader(path)
        } catch {
            guard case .refused = error, try ForeignFormat.of(path)?.isPickle == true else { throw error }
            throw ModelError.unsupported(
                path, found: "a PyTorch pickle",
                expected: "safetensors; in Python: import torch, safetensors.torch; "
                    + "safetensors.torch.save_file(torch.load('\(path)', weights_only=True), 'adapter.safetensors')")
        }
    }

    private static func checkValues(
        _ reader: SafetensorsReader, _ modules: [String: [AdapterKey.Part: String]], _ problems: inout AdapterProblems
    ) {
        let used = Set(modules.values.flatMap(\.values))
        let alphas = Set(modules.values.compactMap { $0[.alpha] })
        for info in reader.tensors where used.contains(info.name) {
            let allowed: [DType] = alphas.contains(info.name) ? [.f32, .f16, .bf16, .f64] : [.f32, .f16, .bf16]
            guard let dtype = info.dtype, allowed.contains(dtype) else {
                problems.add("\(info.dtypeName), where F32, F16 or BF16 is expected", info.name)
                continue
            }
            guard let tensor = try? reader.tensor(info.name) else {
                problems.add("a shape that cannot be held", info.name)
                continue
            }
            if tensor.firstNonFinite != nil { problems.add("NaN or infinity", info.name) }
            if alphas.contains(info.name), tensor.count != 1 {
                problems.add("an alpha of shape \(info.shape), where one number is expected", info.name)
            }
            reader.release(info.name)
        }
    }

    /// A tensor of a module as fp32.
    func floats(_ key: String) throws(TensorError) -> Tensor {
        let tensor = try reader.tensor(key).converted(to: .f32)
        reader.release(key)
        return tensor
    }

    /// What the product of a module's factors is multiplied by, before any strength.
    ///
    /// A tensor beats the metadata; with neither it is 1, as if alpha were the rank.
    func scale(of module: String, rank: Int) -> Double {
        if let key = modules[module]?[.alpha], let alpha = try? reader.tensor(key), alpha.count == 1,
            alpha.dtype.isFloatingPoint
        {
            return alpha.converted(to: .f64).withBytes { $0.load(as: Double.self) } / Double(rank)
        }
        return metadata?.scale(of: module, rank: rank) ?? 1
    }

    /// - Throws: `FileError` when the file changed since it was opened.
    public func verifyUnchanged() throws(FileError) { try reader.verifyUnchanged() }

    // MARK: Description

    /// The ranks in words.
    public var rankText: String {
        guard let ranks else { return "no factors" }
        return ranks.count == 1 ? "rank \(ranks.lowerBound)" : "ranks \(ranks.lowerBound) to \(ranks.upperBound)"
    }

    /// Ranks of all factors, smallest and largest; nil where there are only differences.
    public var ranks: ClosedRange<Int>? {
        let all = modules.values.compactMap { $0[.down].flatMap { reader.info($0)?.shape.first } }
        guard let least = all.min(), let most = all.max() else { return nil }
        return least...most
    }
    /// Modules with factors.
    public var factorCount: Int { modules.values.count { $0[.down] != nil } }
    /// Differences of weights, biases and tables.
    public var differenceCount: Int {
        let parts: [AdapterKey.Part] = [.difference, .biasDifference, .tableDifference, .upBias]
        return modules.values.reduce(0) { sum, module in sum + parts.count { module[$0] != nil } }
    }
    /// Modules with an alpha of their own.
    public var alphaCount: Int { modules.values.count { $0[.alpha] != nil } }
    /// Element types of all parts, as the file names them.
    public var types: [String] {
        Set(modules.values.flatMap(\.values).compactMap { reader.info($0)?.dtypeName }).sorted()
    }

    /// Inputs of the first factors by how often they occur, most often first: what tells a model's size.
    public var inputWidths: [Int] {
        var counts: [Int: Int] = [:]
        for module in modules.values {
            guard let shape = module[.down].flatMap({ reader.info($0)?.shape }), shape.count == 2 else { continue }
            counts[shape[1], default: 0] += 1
        }
        return counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map(\.key)
    }
}
