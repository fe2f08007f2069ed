import VditFiles
import VditMedia
import VditModels
import VditTensor

/// An adapter file as a run asks for it.
public struct AdapterChoice: Sendable, Hashable {
    /// Which transformers it changes.
    public enum Target: String, Sendable, Codable, CaseIterable {
        case all
        /// The first of two, which serves the noisy part of the loop, and the second.
        case highNoise = "high_noise"
        case lowNoise = "low_noise"
    }

    public var path: String
    /// Any finite number; 1 is what the file was trained for, 0 changes nothing.
    public var strength: Double
    public var target: Target

    public init(path: String, strength: Double = 1, target: Target = .all) {
        (self.path, self.strength, self.target) = (path, strength, target)
    }

    /// Reads `FILE` or `FILE=0.8`: what follows the last `=` is a strength if it is a number.
    public init(written text: String, target: Target = .all) {
        if let end = text.lastIndex(of: "="), let strength = Double(text[text.index(after: end)...]) {
            self.init(path: String(text[..<end]), strength: strength, target: target)
        } else {
            self.init(path: text, target: target)
        }
    }

    /// What `init(written:)` reads back.
    public var written: String { "\(path)=\(strength)" }

    func changes(transformer index: Int) -> Bool {
        switch target {
        case .all: true
        case .highNoise: index == 0
        case .lowNoise: index == 1
        }
    }
}

/// The adapters of a model, opened and laid against its transformers.
public struct AdapterSet: Sendable {
    struct Entry: Sendable {
        let choice: AdapterChoice
        let sha256: String
        let adapter: Adapter
    }

    let entries: [Entry]

    static let none = AdapterSet(entries: [])

    private init(entries: [Entry]) { self.entries = entries }

    /// Reads and checks every file.
    ///
    /// - Throws: `FileError` or `ModelError` naming the file; `PipelineError.invalid` (64) for a strength that is no
    ///   finite number, a target the model does not have, and the same file twice.
    ///
    /// - Parameters:
    ///   - names: what the transformers' modules may be called.
    ///   - transformers: how many there are.
    init(_ choices: [AdapterChoice], names: AdapterNames, transformers: Int) throws {
        var entries: [Entry] = []
        for choice in choices {
            guard choice.strength.isFinite else {
                throw PipelineError.invalid(
                    "strength of \(choice.path)", found: "\(choice.strength)", expected: "a finite number",
                    kind: .usage)
            }
            guard choice.target == .all || transformers > 1 else {
                throw PipelineError.invalid(
                    "target of \(choice.path)", found: choice.target.rawValue,
                    expected: "none: this model has one transformer", kind: .usage)
            }
            let adapter = try Adapter(AdapterFile(choice.path), for: names)
            let digest = try Digest.sha256(file: choice.path)
            let same = entries.first {
                let targets = [$0.choice.target, choice.target]
                return $0.sha256 == digest && (targets[0] == targets[1] || targets.contains(.all))
            }
            if let twice = same {
                throw PipelineError.invalid(
                    "adapters", found: "\(twice.choice.path) twice", expected: "every file once", kind: .usage)
            }
            entries.append(Entry(choice: choice, sha256: digest, adapter: adapter))
        }
        self.entries = entries
    }

    public var isEmpty: Bool { entries.isEmpty }

    /// What was asked for, in order.
    public var choices: [AdapterChoice] { entries.map(\.choice) }

    /// What the latents depend on; nil without adapters.
    public var identity: String? {
        entries.isEmpty
            ? nil : entries.map { "\($0.sha256) x \($0.choice.strength) \($0.choice.target.rawValue)" }
                .joined(separator: ", ")
    }

    /// A transformer's weights with its adapters merged in.
    func weights(_ base: WeightStore, ofTransformer index: Int, _ compute: ComputeContext) -> any WeightSource {
        let own = entries.filter { $0.choice.changes(transformer: index) }
        if own.isEmpty { return base }
        return AdaptedWeights(base, own.map { ($0.adapter, $0.choice.strength) }, compute)
    }

    /// - Throws: `FileError` when a file is not the one that was opened.
    func verifyUnchanged() throws(FileError) {
        for entry in entries { try entry.adapter.file.verifyUnchanged() }
    }

    /// One line for each: what it is and how much of the model it changes.
    public var summaries: [String] {
        entries.map { entry in
            let file = entry.adapter.file
            let target = entry.choice.target == .all ? "" : ", \(entry.choice.target.rawValue) only"
            return "LoRA \(FilePath.name(of: entry.choice.path)) x \(entry.choice.strength): "
                + "\(file.rankText), \(entry.adapter.layers.changed) of \(entry.adapter.layers.all) layers + "
                + "\(file.differenceCount) differences\(target)"
        }
    }

    /// What a person should know of the files, and of the sampler with them.
    func notices(_ plan: RenderPlan) -> [String] {
        let transformers = plan.model.transformers.count
        var notices: [String] = []
        for entry in entries {
            let (path, name) = (entry.choice.path, FilePath.name(of: entry.choice.path).lowercased())
            notices += entry.adapter.notices
            if entry.choice.strength == 0 { notices.append("\(path): strength 0 changes nothing") }
            if transformers > 1, entry.choice.target == .all, name.contains("high") || name.contains("low") {
                notices.append("\(path): goes to both transformers, though its name speaks of one")
            }
            if Distillation.isNamed(in: name), let sampling = Distillation.unfit(plan) {
                notices.append(
                    "\(path): its name tells of distillation, for few steps without guidance; "
                        + "\(sampling) give burnt pictures")
            }
        }
        return notices
    }

    /// Whether a file's name tells of distillation.
    var isDistilled: Bool { entries.contains { Distillation.isNamed(in: FilePath.name(of: $0.choice.path)) } }

    /// For the run record.
    var records: [RunRecord.Adapter]? {
        entries.isEmpty
            ? nil
            : entries.map { entry in
                RunRecord.Adapter(
                    path: entry.choice.path, sha256: entry.sha256, strength: entry.choice.strength,
                    rank: entry.adapter.file.ranks?.upperBound, modules: entry.adapter.layers.changed,
                    target: entry.choice.target)
            }
    }
}

/// What tells of models that were distilled to few steps.
enum Distillation {
    /// A sampling that no distilled model was made for, in words; nil for few steps without guidance.
    static func unfit(_ plan: RenderPlan) -> String? {
        let (steps, guidance) = (plan.settings.steps, plan.guidance.map(\.scale).max() ?? 1)
        return steps <= 12 && guidance <= 1.5 ? nil : "\(steps) steps with guidance \(guidance)"
    }

    private static let words = [
        "distill", "lightx2v", "lightning", "fastwan", "rcm", "causvid", "accvideo", "turbo", "self-forcing",
    ]

    /// Whether a file's or folder's name has one of the words, or says how few steps it is for, as `4step` does.
    static func isNamed(in name: String) -> Bool {
        let name = name.lowercased()
        if words.contains(where: { name.contains($0) }) { return true }
        return name.firstMatch(of: #/(^|[^0-9])[1-9][-_ ]?steps?/#) != nil
    }
}
