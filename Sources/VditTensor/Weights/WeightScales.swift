import VditFiles

/// The scales that safetensors files have beside weights of 8 bits, and what else tells how those are meant.
///
/// - Source: ComfyUI's `scaled_fp8` and `comfy_quant` files, LightX2V's fp8 and int8 files.
struct WeightScales {
    /// How the values of one weight follow from what is stored.
    struct Scaling: Sendable {
        /// The file's name of the scale.
        let scale: String
        /// Elements of a row that were rotated together.
        var rotation: Int?
    }

    /// By the weight's name.
    private(set) var scalings: [String: Scaling] = [:]
    /// Tensors that are no part of the model itself.
    private(set) var names: Set<String> = []

    private let tensors: [String: TensorInfo]
    private let path: String
    private var isMarked = false

    /// Finds the scales and checks them; their numbers are read, weights are not.
    ///
    /// - Parameters:
    ///   - tensors: of all files of a component, by name.
    ///   - read: a tensor of one of the files.
    /// - Throws: `FileError.malformed` naming a scale or a weight that lacks its counterpart, `.unsupported` for ways
    ///   to quantise that this version does not know.
    init(
        in tensors: [String: TensorInfo], path: String, read: (String) throws(TensorError) -> Tensor
    ) throws(FileError) {
        (self.tensors, self.path) = (tensors, path)
        let sorted = tensors.keys.sorted()
        try refuseOthers(sorted)
        for name in sorted where !name.utf8.isEmpty { try take(name) }
        for (weight, scaling) in scalings.sorted(by: { $0.key < $1.key }) {
            try check(weight, scaling.scale, read)
        }
        for name in sorted where name.hasSuffix(".comfy_quant") { try takeFormat(name, read) }
        for name in sorted where scalings[name] == nil && !names.contains(name) {
            guard let format = tensors[name]?.format else { continue }
            if format == .i8 && name.hasSuffix(".weight") || isMarked && format != .i8 && name.hasSuffix(".weight") {
                throw malformed(name, "\(format.rawValue) without a scale", "\(stem(name)).weight_scale beside it")
            }
        }
    }

    private func malformed(_ name: String, _ found: String, _ expected: String) -> FileError {
        .malformed(path: path, field: "tensor \(name.shortened)", found: found, expected: expected)
    }

    private func stem(_ name: String) -> String {
        name.lastIndex(of: ".").map { String(name[..<$0]) } ?? name
    }

    private static let others = [
        (".qweight", "SVDQuant (nunchaku), GPTQ or AWQ weights"), (".wscales", "SVDQuant (nunchaku) weights"),
        (".smooth_factor", "SVDQuant (nunchaku) weights"), (".qzeros", "GPTQ or AWQ weights"),
        (".g_idx", "GPTQ weights"), (".weight.absmax", "bitsandbytes weights"),
        (".weight.quant_state", "bitsandbytes weights"), (".weight_scale_2", "NVFP4 weights"),
        (".weight_global_scale", "NVFP4 weights"), (".weight_scale_inv", "fp8 weights in blocks of 128×128"),
    ]

    private func refuseOthers(_ sorted: [String]) throws(FileError) {
        for name in sorted {
            guard let (_, kind) = Self.others.first(where: { name.hasSuffix($0.0) || name.contains($0.0 + ".") }) else {
                continue
            }
            throw .unsupported(
                path: path, found: "\(kind) (\(name.shortened))",
                expected: "fp8 or int8 weights with a scale for each layer or row, GGUF, or 16-bit weights")
        }
    }

    private mutating func take(_ name: String) throws(FileError) {
        switch name.split(separator: ".").last {
        case "scaled_fp8":
            (isMarked, _) = (true, names.insert(name))
        case "scale_input", "input_scale", "_extra_state", "spiece_model", "comfy_quant":
            names.insert(name)
        case "scale_weight", "weight_scale":
            names.insert(name)
            let weight = stem(name) + ".weight"
            guard let info = tensors[weight] else { throw malformed(name, "no \(weight)", "the weight it is for") }
            guard [.i8, .f8E4M3, .f8E5M2].contains(info.format) else {
                throw malformed(name, "a scale for \(info.dtypeName)", "one for weights of 8 bits")
            }
            guard scalings[weight] == nil else { throw malformed(name, "a second scale of \(weight)", "one") }
            scalings[weight] = Scaling(scale: name)
        default: break
        }
    }

    private func check(
        _ weight: String, _ scale: String, _ read: (String) throws(TensorError) -> Tensor
    ) throws(FileError) {
        let (rows, info) = (tensors[weight]?.shape.first ?? 1, tensors[scale])
        let shape = info?.shape ?? []
        guard let info, [.f32, .f16, .bf16].contains(info.dtype), [[], [1], [rows], [rows, 1]].contains(shape) else {
            throw malformed(
                scale, "\(info?.dtypeName ?? "nothing") \(shape)", "one float, or one for each of \(rows) rows")
        }
        let values: [Float]
        do { values = try read(scale).floats() } catch { throw malformed(scale, "\(error)", "floats") }
        if let wrong = values.first(where: { !($0.isFinite && $0 > 0) }) {
            throw malformed(scale, "\(wrong)", "finite numbers above 0")
        }
    }

    /// What ComfyUI says of a layer, as JSON.
    private mutating func takeFormat(
        _ name: String, _ read: (String) throws(TensorError) -> Tensor
    ) throws(FileError) {
        let weight = stem(name) + ".weight"
        guard let info = tensors[weight], let json = tensors[name], json.dtype == .u8, json.byteRange.count <= 65_536,
            let bytes = try? read(name)
        else { throw malformed(name, "no weight, or no text", "JSON beside \(weight)") }
        var (format, isRotated, group): (String?, Bool, Int) = (nil, false, 256)
        var scanner = try JSONScanner(bytes.withBytes(Array.init), path: path, part: name.shortened)
        try scanner.beginObject()
        while let key = try scanner.nextKey() {
            switch key {
            case "format": format = try scanner.string()
            case "convrot": isRotated = try scanner.bool()
            case "convrot_groupsize": group = try scanner.count()
            default: try scanner.skipValue()
            }
        }
        try scanner.end()
        guard let format else { throw malformed(name, "no format", "one") }
        let known: [String: BlockFormat] = [
            "float8_e4m3fn": .f8E4M3, "float8_e5m2": .f8E5M2, "int8_tensorwise": .i8,
        ]
        guard let expected = known[format] else {
            throw .unsupported(
                path: path, found: "\(name.shortened): format \(format.shortened)",
                expected: known.keys.sorted().joined(separator: ", "))
        }
        guard info.format == expected else {
            throw malformed(name, "format \(format) for \(info.dtypeName)", expected.rawValue)
        }
        guard scalings[weight] != nil else { throw malformed(name, "no scale", "\(stem(name)).weight_scale") }
        guard isRotated else { return }
        let isPowerOfFour = group > 0 && group & (group - 1) == 0 && group.trailingZeroBitCount % 2 == 0
        guard isPowerOfFour, let row = info.shape.last, row % group == 0 else {
            throw malformed(
                name, "convrot_groupsize \(group)", "a power of four that divides the rows of \(info.shape.last ?? 0)")
        }
        scalings[weight]?.rotation = group
    }
}
