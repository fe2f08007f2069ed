import Foundation
import VDiT

/// Kinds of file that vdit reads, for tests that damage them. Their numbers are those of Tests/Fuzz/corpus: a new kind
/// goes to the end.
public enum FileKind: UInt8, CaseIterable, Sendable {
    case safetensors = 1, gguf, scaled, npy, checkpoint, record, config, pipeline, prompt
    case adapter, sentencePiece, tokenizer, vocabulary, database, image, video

    /// Whether a small file can be worth much memory: pictures are compressed.
    public var isCompressed: Bool { self == .image || self == .video }

    /// A good file of its kind.
    public func write(to path: String) throws {
        var random = TorchRandom(seed: 9)
        switch self {
        case .safetensors:
            try SafetensorsWriter.write(
                ["a": random.normal([3, 5]), "b.c": random.normal([7]).converted(to: .bf16)],
                metadata: ["format": "pt"], to: path, existing: .replace)
        case .gguf, .scaled:
            let name = self == .gguf ? "gguf/bad/ok-every-value-type.gguf" : "fp8/bad/ok-scaled.safetensors"
            try Self.copy(name, to: path)
        case .npy: try Npy.write(random.normal([4, 6]), to: path, existing: .replace)
        case .checkpoint: try CheckpointExample.make().write(to: path)
        case .record: try Data(Self.recordText.utf8).write(to: URL(fileURLWithPath: path))
        case .config: try Data(Self.configText.utf8).write(to: URL(fileURLWithPath: path))
        case .pipeline: try Data(Self.pipelineText.utf8).write(to: URL(fileURLWithPath: path))
        case .prompt:
            try SafetensorsWriter.write(
                ["prompt_embeds": random.normal([1, 8, 48])], metadata: ["prompt": "a ball"], to: path,
                existing: .replace)
        case .adapter: try Self.copy("lora/peft-names-metadata-alpha/lora.safetensors", to: path)
        case .sentencePiece: try Self.copy("text-encoders/tokenizer-umt5-like/spiece.model", to: path)
        case .tokenizer: try Self.copy("text-encoders/tokenizer-umt5-like/tokenizer.json", to: path)
        case .vocabulary:
            // It has only one kind of line: every 50th will do, with the special tokens.
            let whole = try String(contentsOfFile: Golden.path("text-encoders/wordpiece-minilm/vocab.txt"), encoding: .utf8)
            let lines = whole.split(separator: "\n").enumerated().filter { $0.offset % 50 == 0 || 100...103 ~= $0.offset }
            try Data(lines.map { "\($0.element)\n" }.joined().utf8).write(to: URL(fileURLWithPath: path))
        case .database:
            let batch = try BatchFixture(BatchFixture.seeds(2))
            try RunDatabase(path: path, sharing: .oneProcess).register(batch.plan().jobs)
        case .image, .video:
            let name = self == .image ? "frame.png" : "clip.mp4"
            let folder = try TemporaryDirectory()
            let frames = (0..<(self == .image ? 1 : 3)).map { Clips.smooth($0, width: 48, height: 32) }
            try Clips.write(frames, to: folder.path(name), Clips.options())
            try FileManager.default.moveItem(atPath: folder.path(name), toPath: path)
        }
    }

    private static func copy(_ golden: String, to path: String) throws {
        try Data(contentsOf: URL(fileURLWithPath: Golden.path(golden))).write(to: URL(fileURLWithPath: path))
    }

    /// What libFuzzer kept of this kind (Tests/Fuzz): files that reach what others do not.
    public func corpus() throws -> [(name: String, bytes: [UInt8])] {
        let folder = Golden.root.appendingPathComponent("Tests/Fuzz/corpus")
        return try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted().compactMap { name in
            let bytes = try Data(contentsOf: folder.appendingPathComponent(name))
            return bytes.first == rawValue ? (name, Array(bytes.dropFirst())) : nil
        }
    }

    /// Reads a file of its kind as the command does, every tensor of it too.
    private func read(_ path: String) throws {
        switch self {
        case .safetensors:
            let file = try SafetensorsReader(path)
            for name in file.names { _ = try file.tensor(name).isFinite }
        case .gguf, .scaled:
            let store = try WeightStore(path)
            for name in store.names where store.info(name)?.isWeight == true { _ = try store.tensor(name) }
        case .npy: _ = try Npy.read(path)
        case .checkpoint: _ = try Checkpoint(path: path)
        case .record: _ = try RunRecord(path: path)
        case .config:
            let file = try ConfigFile(path: path)
            _ = try? file.integerIfPresent("steps", 1...1000)
            _ = try? file.numberIfPresent("shift", 0...1)
            _ = try? file.stringsIfPresent("names")
        case .pipeline: _ = try PipelineFile(path: path).expand()
        case .prompt:
            _ = try PromptEmbedding.read(path, needs: ConditioningNeeds(promptWidth: 48))
        case .adapter: _ = try Adapter(AdapterFile(path), for: Self.adapterNames())
        case .sentencePiece: try Self.use(UnigramTokenizer(sentencePiece: path, sentinels: 30))
        case .tokenizer: try Self.use(UnigramTokenizer(json: path))
        case .vocabulary: try Self.use(WordPieceTokenizer(vocabulary: path))
        case .database:
            let looked = try RunDatabase(path: path, access: .readOnly)
            _ = try looked.status()
            _ = try looked.events()
            let used = try RunDatabase(path: path, sharing: .oneProcess)
            var watch = LeaseWatch(seconds: 60)
            _ = try used.takeOver(&watch)
            if let claim = try used.claim(model: "", only: nil) { try used.finish(claim, .interrupted(step: 1)) }
        case .image: _ = try StillImage(path)
        case .video:
            let reader = try FFmpegReader(path)
            while try reader.next() != nil {}
        }
    }

    private static func adapterNames() throws -> AdapterNames {
        let config = Golden.path("wan-transformer/t2v-2heads-dim64/config.json")
        return try WanTransformerConfig(ConfigFile(path: config)).adapterNames
    }

    /// Texts and back: every id is one the file has.
    private static func use(_ tokenizer: some Tokenizer) throws {
        for text in ["A cat walks, ½ ﬁne ＦＵＬＬ ネコ ｶﾞ 각 \u{0}\u{7}", "<extra_id_0>▁ 🐱 <0x41>\u{301}", ""] {
            let ids = try tokenizer.ids(text)
            guard ids.allSatisfy({ 0..<tokenizer.count ~= Int($0) }) else { throw WrongIDs(ids: ids) }
            _ = tokenizer.text(of: ids[...])
        }
    }

    private struct WrongIDs: Error { let ids: [Int32] }

    /// What a reader made of a file.
    public enum Verdict: Equatable {
        case accepted, refused
        /// No error that a user should see.
        case wrong(String)
    }

    /// Reads a file of its kind as the command does; an error is to be one of ours, and short.
    public func verdict(on path: String) -> Verdict {
        do {
            try read(path)
            return .accepted
        } catch let failure as any Failure where failure.kind != .internalError {
            let text = failure.description
            return text.utf8.count < 20_000 ? .refused : .wrong("an error of \(text.utf8.count) bytes")
        } catch {
            return .wrong("\(error)")
        }
    }

    private static let configText =
        #"{"_class_name": "X", "steps": 50, "shift": 0.5, "names": ["a", "b"], "nested": {"a": [1, 2, null]}}"#
    private static let pipelineText =
        "version: 1\ndefaults:\n  model: m\n  prompt_embedding: p\n  steps: 4\noutput: o/{seed}.mp4\n"
        + "matrix:\n  seed: [1, 2]\njobs:\n  - name: a\n  - {name: b, needs: [a], fps: 16}\n"
    private static let recordText =
        #"{"command":["vdit"],"created":"x","inputs":{},"latents_sha256":"x","model":{"dtype":"BF16","family":"f","#
        + #""files":[{"bytes":1,"header_sha256":"x","name":"n"}],"path":"p"},"output":{"fps":"16/1","frames":5,"#
        + #""height":32,"path":"o","width":48},"peak_rss_bytes":1,"schema":1,"timing_s":{"decode":0,"denoise":1.5,"#
        + #""encode":0,"load":0,"per_step":[1,2]},"vdit_version":"0.1.0","warnings":[]}"#
}

/// A state with something of everything.
private enum CheckpointExample {
    static func make() -> Checkpoint {
        var random = TorchRandom(seed: 1)
        var history = SchedulerHistory()
        history.tensors = ["output.0": random.normal([2, 1, 3, 3])]
        history.numbers = ["outputs": 1]
        return Checkpoint(
            completed: 3, latents: random.normal([2, 1, 3, 3]), history: history,
            learned: ["0.conditional.2.centroids": random.normal([4, 8])], identity: ["seed": "7"])
    }
}
