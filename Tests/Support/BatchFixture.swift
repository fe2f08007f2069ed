import Foundation
import VDiT

/// A pipeline of tiny jobs in a folder of its own.
public struct BatchFixture {
    public let folder: TemporaryDirectory
    public let file: String

    /// - Parameters:
    ///   - jobs: lines under `jobs:` or `matrix:`, with that key.
    ///   - steps: of every job; about 4 ms each.
    ///   - extra: more lines under `defaults:`.
    public init(_ jobs: String, steps: Int = 2, extra: [String] = [], output: String = "out/{job}-{seed}.mkv") throws {
        folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
        let defaults = [
            "model: model", "prompt_embedding: a.safetensors", "negative_prompt_embedding: empty.safetensors",
            "size: 32x32", "num_frames: 5", "steps: \(steps)", "codec: ffv1", "threads: 1",
        ] + extra
        file = try folder.write(
            "version: 1\noutput: \(output)\ndefaults:\n" + defaults.map { "  \($0)\n" }.joined() + jobs + "\n", "batch.yaml")
    }

    /// Six dense renders and six with other guidance, and how far these are from those: 18 jobs.
    public static let compared = """
        matrix:
          seed: [1, 2, 3, 4, 5, 6]
          method: [{name: dense}, {name: strong, guidance_scale: 8}]
        jobs:
          - name: clip
          - name: quality
            compare: clip
            reference: {method: dense}
            output: out/{job}-{seed}-{method}.quality.json
        """

    public static func seeds(_ count: Int) -> String {
        "matrix:\n  seed: [\((1...count).map(String.init).joined(separator: ", "))]"
    }

    public func plan(_ overrides: [String] = []) throws -> BatchPlan {
        try BatchPlan(PipelineFile(path: file, overrides: overrides))
    }

    public var database: String { folder.path("out/batch.vdit.sqlite") }

    /// The bytes of every video, by name.
    public func videos() throws -> [String: Data] {
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path("out"))
        return Dictionary(
            uniqueKeysWithValues: names.filter { $0.hasSuffix(".mkv") && !$0.hasPrefix(".") }.map {
                ($0, FileManager.default.contents(atPath: folder.path("out/\($0)")) ?? Data())
            })
    }

    /// What every comparison measured, by the name of its file.
    public func comparisons() throws -> [String: [Quality]] {
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path("out")).filter { $0.hasSuffix(".quality.json") }
        return Dictionary(
            uniqueKeysWithValues: try names.map { ($0, try FileComparison(path: folder.path("out/\($0)")).candidates.map(\.quality)) })
    }

    /// Files in the output folder that no finished batch leaves.
    public func leftovers() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder.path("out")).filter {
            name in name.hasPrefix(".") || ![".mkv", ".mkv.json", ".quality.json", ".vdit.sqlite"].contains { name.hasSuffix($0) }
        }.sorted()
    }

    /// Starts the command in the fixture's folder.
    ///
    /// - Parameter wrapper: what runs it, as words of a shell.
    public func start(
        _ arguments: [String], environment: [String: String] = [:], wrapper: String = ""
    ) throws -> CommandRun {
        try CommandRun(
            arguments, script: "cd '\(folder.path)' && exec \(wrapper) \"$VDIT\" \"$@\"", environment: environment)
    }

    /// Runs the command to its end.
    public func vdit(
        _ arguments: [String], environment: [String: String] = [:], wrapper: String = ""
    ) throws -> CommandRun.Result {
        try start(arguments, environment: environment, wrapper: wrapper).finish()
    }
}
