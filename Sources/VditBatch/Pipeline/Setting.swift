import VditAttention
import VditFiles
import VditMedia
import VditModels
import VditPipeline
import VditTensor
import Yams

/// A setting's value and where it was written.
public struct SettingValue: Sendable {
    public enum Content: Sendable, Equatable {
        case text(String), integer(Int), number(Double), flag(Bool)
        case options([String: String])
    }

    public let content: Content
    public let mark: SourceMark

    public var text: String {
        switch content {
        case .text(let value): value
        case .integer(let value): "\(value)"
        case .number(let value): "\(value)"
        case .flag(let value): "\(value)"
        case .options(let values):
            values.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ",")
        }
    }
    var integer: Int? { if case .integer(let value) = content { value } else { nil } }
    var number: Double? { if case .number(let value) = content { value } else { nil } }
    var flag: Bool? { if case .flag(let value) = content { value } else { nil } }
    var options: [String: String]? { if case .options(let values) = content { values } else { nil } }
}

/// A key of `defaults`, of a job or of a matrix: how its value is read and what it changes in a render.
struct Setting: Sendable {
    enum Kind: Sendable {
        /// A file that is read; relative to the pipeline file, `${NAME}` is the environment's.
        case input
        /// A file that is written: an input's rules, and `{placeholders}`.
        case output
        case integer(ClosedRange<Int>)
        case number
        case flag
        case choice([String])
        /// `832x480`, which is a width and a height.
        case size
        /// Text with a syntax of its own, in words.
        case written(String)
        /// A mapping of names to values.
        case options
    }

    let name: String
    let kind: Kind
    let summary: String
    /// Puts the value into a render; throws what the value's own type says about it.
    let apply: @Sendable (SettingValue, inout RenderJob) throws -> Void

    init(
        _ name: String, _ kind: Kind, _ summary: String,
        _ apply: @escaping @Sendable (SettingValue, inout RenderJob) throws -> Void
    ) {
        self.name = name
        self.kind = kind
        self.summary = summary
        self.apply = apply
    }
}

/// Every setting of a render, by the name its flag has on the command line, in snake_case.
enum SettingTable {
    static let all: [Setting] = [
        Setting("model", .input, "pipeline folder in diffusers' layout") { $1.model = $0.text },
        Setting("prompt_embedding", .input, "what the text encoder made of the prompt") { $1.promptEmbedding = $0.text },
        Setting("negative_prompt_embedding", .input, "the same for the negative prompt") { $1.negativePromptEmbedding = $0.text },
        Setting("size", .size, "width x height in pixels, such as 832x480") { _, _ in },
        Setting("width", .integer(1...16384), "pixels") { $1.request.width = $0.integer },
        Setting("height", .integer(1...16384), "pixels") { $1.request.height = $0.integer },
        Setting("num_frames", .integer(1...65536), "frames of the video, 4k+1 for Wan") { $1.request.numFrames = $0.integer },
        Setting("fps", .written(FrameRate.range), "frames per second: 16, 23.976 or 30000/1001") {
            $1.request.frameRate = try FrameRate(parsing: $0.text)
        },
        Setting("steps", .integer(1...100_000), "steps of the sampler") { $1.request.steps = $0.integer },
        Setting("guidance_scale", .number, "classifier-free guidance; 1 is off") { $1.request.guidanceScale = $0.number },
        Setting("guidance_scale_2", .number, "of the second transformer, where there are two") { $1.request.secondGuidanceScale = $0.number },
        Setting("guidance_interval", .written("two fractions of the loop, such as 0:0.8"), "where in the loop guidance is on") {
            let parts = $0.text.split(separator: ":", omittingEmptySubsequences: false).map { Double($0) }
            guard parts.count == 2, let start = parts[0], let end = parts[1] else {
                throw BatchError.invalid(
                    "guidance_interval", found: "'\($0.text)'", expected: "two fractions of the loop, such as 0:0.8",
                    kind: .usage)
            }
            $1.request.guidanceInterval = (start, end)
        },
        Setting("flow_shift", .number, "shift of the noise schedule") { $1.request.flowShift = $0.number },
        Setting("scheduler", .choice(SchedulerConfiguration.Kind.allCases.map(\.rawValue)), "sampler") {
            $1.request.scheduler = SchedulerConfiguration.Kind(rawValue: $0.text)
        },
        Setting("sigma_spacing", .choice(UniPCMultistep.Spacing.allCases.map(\.rawValue)), "noise levels of unipc") {
            $1.request.sigmaSpacing = UniPCMultistep.Spacing(rawValue: $0.text)
        },
        Setting("seed", .integer(0...Int.max), "of the noise; 0 when not given, so that a batch can be repeated") {
            $1.request.seed = $0.integer
        },
        Setting("precision", .choice(Precision.allCases.map(\.rawValue)), "operands of matrix products") {
            $1.request.precision = Precision(rawValue: $0.text)
        },
        Setting("threads", .integer(1...1024), "worker threads; never changes the result") { $1.request.threads = $0.integer },
        Setting("sparse", .choice(MethodCatalogue.methods.map(\.name)), "sparse attention method") { $1.request.sparse = $0.text },
        Setting("sparse_options", .options, "options of the method, by name") { $1.request.sparseOptions = $0.options ?? [:] },
        Setting("sparse_fallback", .choice(AttentionContext.Fallback.allCases.map(\.rawValue)), "what to do where the method cannot run") {
            $1.fallback = AttentionContext.Fallback(rawValue: $0.text) ?? .refuse
        },
        Setting("density", .number, "share of token pairs to keep, above 0, at most 1") { $1.request.density = $0.number },
        Setting("latents", .input, "noise to start from instead of the seed's") { $1.latents = $0.text },
        Setting("save_latents", .output, "where the final latents stay") { $1.saveLatents = $0.text },
        Setting("contact_sheet", .output, "PNG of evenly spaced frames") { $1.destination.contactSheet = $0.text },
        Setting("codec", .choice(VideoCodec.allCases.map(\.rawValue)), "of the container's choice when not given") {
            $1.destination.options.codec = VideoCodec(rawValue: $0.text)
        },
        Setting("crf", .integer(0...63), "constant quality, smaller is better") { $1.destination.options.crf = $0.integer },
        Setting("pix_fmt", .written("FFmpeg's name of a pixel format"), "FFmpeg's name") { $1.destination.options.pixelFormat = $0.text },
        Setting("preset", .written("a name of the encoder's presets"), "encoder's speed") { $1.destination.options.preset = $0.text },
        Setting("metadata", .flag, "whether settings are embedded in the video") {
            $1.destination.metadata = $0.flag == false ? .omit : .embed
        },
        Setting("checkpoint_every", .integer(1...100_000), "steps between checkpoints; once a minute when not given") {
            $1.checkpointEverySteps = $0.integer
        },
        Setting("memory_limit", .written("a size such as 20G or 512M"), "memory the render may take") {
            $1.memoryLimit = try bytes($0.text)
        },
        Setting("overwrite", .flag, "whether outputs of other runs may be replaced") { _, _ in },
    ]

    static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })
    static let names = all.map(\.name)

    /// Settings that never change the pixels: a job that differs in these alone is the same job.
    static let withoutEffect: Set<String> = ["threads", "memory_limit", "checkpoint_every", "overwrite"]

    static func suggestion(for name: String, among known: [String]) -> String {
        nearestName(to: String(name.prefix(100)).replacing("-", with: "_"), among: known).map { "; did you mean '\($0)'?" } ?? ""
    }

    /// Reads `20G`, `512M`, `64K` or a number of bytes.
    ///
    /// - Throws: `BatchError.invalid` (64).
    static func bytes(_ text: String) throws(BatchError) -> Int {
        let units: [Character: Int] = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40]
        let unit = text.last.flatMap { units[Character($0.uppercased())] }
        let digits = unit == nil ? text[...] : text.dropLast()
        let (product, overflow) = (Int(digits) ?? 0).multipliedReportingOverflow(by: unit ?? 1)
        guard !overflow, product > 0, digits.allSatisfy({ $0.isASCII && $0.isNumber }) else {
            throw .invalid("memory", found: "'\(text)'", expected: "a size such as 20G or 512M", kind: .usage)
        }
        return product
    }
}

extension PipelineDocument {
    /// The settings of one mapping. `size` becomes a width and a height.
    func settings(_ entries: [Entry], of what: String, in environment: [String: String]) -> [String: SettingValue] {
        var values: [String: SettingValue] = [:]
        for entry in entries {
            for (name, value) in setting(entry.key, entry.value, "\(what)\(entry.key)", environment) {
                if values[name] != nil {
                    report(entry.keyMark, "\(what)\(entry.key): the \(name) is given twice, by itself and as size")
                }
                values[name] = value
            }
        }
        return values
    }

    /// One setting's value, checked for its type; empty when it is reported as unusable.
    func setting(
        _ name: String, _ node: Node, _ what: String, _ environment: [String: String]
    ) -> [String: SettingValue] {
        guard let setting = SettingTable.byName[name] else { return [:] }
        func value(_ content: SettingValue.Content?) -> [String: SettingValue] {
            content.map { [name: SettingValue(content: $0, mark: Self.mark(node))] } ?? [:]
        }
        switch setting.kind {
        case .input, .output:
            return value(
                text(node, what, "a path").flatMap { path(of: $0, node, what, environment) }.map { .text($0) })
        case .integer(let range): return value(integer(node, what, in: range).map { .integer($0) })
        case .number: return value(number(node, what).map { .number($0) })
        case .flag: return value(flag(node, what).map { .flag($0) })
        case .choice(let names): return value(choice(node, what, among: names).map { .text($0) })
        case .written(let expected): return value(written(node, what, expected).map { .text($0) })
        case .size:
            let expected = "width x height, such as 832x480"
            guard let text = text(node, what, expected) else { return [:] }
            let sides = text.split(omittingEmptySubsequences: false) { "x*×".contains($0) }
                .map { $0.allSatisfy(\.isNumber) ? Int($0) : nil }
            guard sides.count == 2, let width = sides[0], let height = sides[1] else {
                report(Self.mark(node), "\(what): found '\(text)', expected \(expected)")
                return [:]
            }
            let mark = Self.mark(node)
            return [
                "width": SettingValue(content: .integer(width), mark: mark),
                "height": SettingValue(content: .integer(height), mark: mark),
            ]
        case .options:
            var options: [String: String] = [:]
            for entry in entries(node, of: what) {
                if let text = written(entry.value, "\(what).\(entry.key)", "a value") {
                    options[entry.key.replacing("_", with: "-")] = text
                }
            }
            return value(.options(options))
        }
    }

    /// Follows `${NAME}` and makes the path relative to the file's folder.
    func path(of text: String, _ node: Node, _ what: String, _ environment: [String: String]) -> String? {
        var rest = text[...]
        var expanded = ""
        while let start = rest.range(of: "${") {
            expanded += rest[..<start.lowerBound]
            rest = rest[start.upperBound...]
            guard let end = rest.firstIndex(of: "}") else {
                report(Self.mark(node), "\(what): found '${' without '}'")
                return nil
            }
            let name = String(rest[..<end])
            guard let value = environment[name] else {
                report(Self.mark(node), "\(what): the environment has no variable '\(name)'")
                return nil
            }
            expanded += value
            rest = rest[rest.index(after: end)...]
        }
        expanded += rest
        if expanded.isEmpty {
            report(Self.mark(node), "\(what): the path is empty")
            return nil
        }
        return FilePath.resolved(expanded, in: FilePath.folder(of: path))
    }
}
