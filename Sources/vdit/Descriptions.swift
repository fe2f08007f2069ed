import Foundation
import VDiT

/// A pipeline folder, and what a video made with it would take.
struct ModelDescription: Description {
    let path, name, scheduler, storedType: String
    let transformers: [String]
    let parameters, decoderParameters: Int
    let flowShift: Double
    let pictures: String
    let width, height, numFrames, steps: Int
    let guidanceScale: Double
    let latentShape: [Int]
    let tokens: Int
    let attentionFlopsPerCall, otherFlopsPerCall, totalFlops: Double
    let peakMemoryBytes: Int

    init(_ path: String, _ request: RenderRequest) throws {
        let model = try ModelDirectory(path: path)
        let plan = try RenderPlan(request, model: model.specification, sampler: model.scheduler)
        let (specification, settings, estimate) = (plan.model, plan.settings, plan.estimate)
        self.path = path
        name = specification.defaults.name
        storedType = model.storedType
        transformers = specification.transformers.map(\.specification.summary)
        parameters = estimate.parameters
        decoderParameters = specification.decoder.parameterCount
        scheduler = settings.scheduler.kind.rawValue
        flowShift = settings.scheduler.flowShift
        pictures = Self.pictures(specification.defaults.pictureStart)
        (width, height, numFrames) = (settings.width, settings.height, settings.numFrames)
        (steps, guidanceScale) = (settings.steps, settings.guidanceScale)
        latentShape = plan.latents.extents
        tokens = estimate.tokens
        attentionFlopsPerCall = estimate.selfAttentionFLOPs
        otherFlopsPerCall = estimate.otherFLOPs
        totalFlops = estimate.totalFLOPs
        peakMemoryBytes = estimate.peakBytes
    }

    private static func pictures(_ start: PictureStart?) -> String {
        func words(_ need: PictureStart.Need, _ flag: String) -> String? {
            switch need {
            case .none: nil
            case .optional: "\(flag) if wanted"
            case .required: "\(flag) needed"
            }
        }
        guard let start else { return "none: videos of text alone" }
        return [words(start.first, "--image"), words(start.last, "--last-image")].compactMap { $0 }
            .joined(separator: ", ")
    }

    var text: String {
        var rows = [["model", "\(path) (\(name)), weights stored as \(storedType)"]]
        for (index, shape) in transformers.enumerated() {
            rows.append([index == 0 ? "transformer" : "transformer_2", shape])
        }
        rows += [
            ["parameters", "\(Format.count(Double(parameters))), VAE \(Format.count(Double(decoderParameters)))"],
            ["scheduler", "\(scheduler), flow shift \(flowShift)"],
            ["pictures", pictures],
            ["video", "\(width)×\(height), \(numFrames) frames, \(steps) steps, guidance \(guidanceScale)"],
            ["latents", "\(latentShape)"],
            ["tokens", "\(tokens)"],
            [
                "one call",
                "\(Format.count(attentionFlopsPerCall))FLOP self-attention, "
                    + "\(Format.count(otherFlopsPerCall))FLOP the rest",
            ],
            ["whole run", "\(Format.count(totalFlops))FLOP"],
            ["memory", "about \(Bytes.text(peakMemoryBytes))"],
        ]
        return Console.table(rows)
    }
}

/// The weights of one component: a transformer, a VAE, or anything else in files of weights.
struct ComponentDescription: Description {
    let path: String
    let kind, shape: String?
    /// Of a file without a configuration: the published models it may be, and what a render needs beside it.
    var mayBe: [String]?
    var lacks: [String]?
    let files: [String]
    let bytes: Int
    let parameters: Int
    let tensorCount: Int
    let types: [String: Int]
    let tensors: [TensorFileDescription.Entry]?

    init(folder: String, listsTensors: Bool) throws {
        let store = try WeightStore(folder)
        path = folder
        let config = "\(folder)/config.json"
        if FilePath.exists(config) {
            let file = try ConfigFile(path: config)
            kind = try file.stringIfPresent("_class_name")
            shape = try ModelCatalogue.summary(of: file, store)
        } else {
            (kind, shape) = (nil, nil)
        }
        let infos = store.names.compactMap { store.info($0) }
        files = store.files.map(\.name)
        bytes = store.files.reduce(0) { $0 + $1.byteCount }
        parameters = infos.reduce(0) { $0 + $1.shape.reduce(1, *) }
        tensorCount = infos.count
        types = infos.reduce(into: [:]) { $0[$1.dtypeName, default: 0] += 1 }
        tensors = listsTensors ? infos.map(TensorFileDescription.Entry.init) : nil
    }

    /// A file whose tensors tell what it is.
    ///
    /// - Throws: what opening it throws, where they are of nothing that is known.
    init(file path: String, listsTensors: Bool) throws {
        let file = try ModelFile(path)
        self.path = path
        kind = file.parts.map(\.kind).joined(separator: ", ")
        shape = file.parts.map(\.summary).joined(separator: "; ")
        (mayBe, lacks) = (file.published, file.lacks)
        let infos = file.weights.names.compactMap { file.weights.info($0) }
        files = file.weights.files.map(\.name)
        bytes = file.weights.files.reduce(0) { $0 + $1.byteCount }
        parameters = infos.reduce(0) { $0 + $1.shape.reduce(1, *) }
        tensorCount = infos.count
        types = infos.reduce(into: [:]) { $0[$1.dtypeName, default: 0] += 1 }
        tensors = listsTensors ? infos.map(TensorFileDescription.Entry.init) : nil
    }

    var text: String {
        var rows = [[mayBe == nil ? "folder" : "file", path]]
        if let kind { rows.append([mayBe == nil ? "class" : "content", kind]) }
        if let shape { rows.append(["shape", shape]) }
        if let mayBe, !mayBe.isEmpty { rows.append(["model", mayBe.joined(separator: ", or one of ")]) }
        if let lacks, !lacks.isEmpty { rows.append(["lacks", lacks.joined(separator: ", ")]) }
        rows += [
            ["parameters", "\(Format.count(Double(parameters))) in \(tensorCount) tensors"],
            ["types", types.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")],
            ["files", "\(files.joined(separator: ", ")) (\(Bytes.text(bytes)))"],
        ]
        return Console.table(rows) + TensorFileDescription.list(tensors)
    }
}

/// A safetensors or npy file; prompt embeddings and latents are named as such.
struct TensorFileDescription: Description {
    struct Entry: Encodable {
        let name: String
        let dtype: String
        let shape: [Int]

        init(_ info: TensorInfo) { (name, dtype, shape) = (info.name, info.dtypeName, info.shape) }
        init(name: String, _ tensor: Tensor) {
            (self.name, dtype, shape) = (name, tensor.dtype.rawValue, tensor.shape)
        }
    }

    let path: String
    let content: String
    let bytes: Int
    let parameters: Int
    let metadata: [String: String]
    let tensorCount: Int
    let tensors: [Entry]
    /// The first NaN or infinity of an embedding or latents: tensor and position.
    let nonFinite: String?

    init(_ path: String, listsTensors: Bool) throws {
        let file = try SafetensorsReader(path)
        self.path = path
        bytes = file.byteCount
        metadata = file.metadata
        parameters = file.tensors.reduce(0) { $0 + $1.shape.reduce(1, *) }
        tensorCount = file.tensors.count
        tensors = file.tensors.prefix(listsTensors ? Int.max : 20).map(Entry.init)
        let names = Set(file.names)
        let known = [
            ("prompt_embeds", "prompt embedding"), ("latents", "latents"), ("sample", "a prediction"),
            ("frames", "decoded frames"),
        ].first { names.contains($0.0) }
        content = known.map(\.1) ?? "tensors"
        nonFinite = try known.flatMap { name, _ in
            try file.tensor(name).firstNonFinite.map { "\(name), element \($0)" }
        }
    }

    init(npy path: String) throws {
        let tensor = try Npy.read(path)
        self.path = path
        content = "one array"
        bytes = tensor.byteCount
        parameters = tensor.count
        metadata = [:]
        tensorCount = 1
        tensors = [Entry(name: "array", tensor)]
        nonFinite = tensor.firstNonFinite.map { "element \($0)" }
    }

    var text: String {
        var rows = [
            ["file", "\(path) (\(Bytes.text(bytes)))"],
            ["holds", "\(content), \(Format.count(Double(parameters))) values"],
        ]
        rows += metadata.sorted { $0.key < $1.key }.map { [$0.key.onOneLine, $0.value.onOneLine] }
        if let nonFinite { rows.append(["warning", "NaN or infinity: \(nonFinite)"]) }
        let hidden = tensorCount - tensors.count
        let rest = hidden > 0 ? "\n  … and \(hidden) more (--tensors lists all)" : ""
        return Console.table(rows) + Self.list(tensors) + rest
    }

    static func list(_ tensors: [Entry]?) -> String {
        guard let tensors, !tensors.isEmpty else { return "" }
        return "\n" + Console.table(tensors.map { [$0.name.onOneLine, $0.dtype, "\($0.shape)"] }, indent: "  ")
    }
}

/// A video file, by what its container says.
struct VideoDescription: Description {
    let path: String
    let width, height: Int
    let fps: String?
    let container, codec, pixelFormat: String
    let matrix: String?
    let metadata: [String: String]

    init(_ path: String) throws {
        let info = try FFmpegReader(path).info
        self.path = path
        (width, height) = (info.width, info.height)
        fps = info.frameRate?.description
        (container, codec, pixelFormat) = (info.container, info.codec, info.pixelFormat)
        matrix = info.matrix
        metadata = info.metadata
    }

    var text: String {
        var rows = [
            ["file", path], ["size", "\(width)×\(height)"], ["fps", fps ?? "unknown"],
            ["format", "\(container), \(codec), \(pixelFormat)"], ["colour", matrix ?? "not tagged"],
        ]
        rows += metadata.sorted { $0.key < $1.key }.map { [$0.key.onOneLine, $0.value.onOneLine] }
        return Console.table(rows)
    }
}
