import Foundation
import TestSupport
import Testing
import VDiT

/// Tables of heads from `calibrate --sparse` to the record, and what refuses them.
struct HeadTableCommandTests {
    private static let tiles = ["tile-frames=1", "tile-height=2", "tile-width=2"].flatMap { ["--sparse-option", $0] }
    private static let narrow = "window-frames=1,window-height=1,window-width=1"
    private static let wide = "window-frames=3,window-height=3,window-width=3"

    private func calibrate(_ output: String, prompts: [String], _ more: [String] = []) throws -> CommandRun.Result {
        let prompts = prompts.map { Golden.sample("prompts/\($0).safetensors") }
        return try CommandRun.run(
            ["calibrate", "--model", Golden.sample("wan-mini"), "--prompt-embedding"] + prompts
                + ["--negative-prompt-embedding", Golden.sample("prompts/empty.safetensors"), "--size", "96x64"]
                + ["--num-frames", "5", "--steps", "3", "--seed", "5", "--sparse", "sta", "-o", output]
                + Self.tiles + ["--pattern", Self.narrow, "--pattern", Self.wide] + more)
    }

    private struct File: Decodable {
        let method, model: String
        let size: [Int]
        let prompts: [String]
        let patterns: [[String: String]]
        let heads: [[[Int]]]
    }

    private func file(_ path: String) throws -> File { try JSONDecoder().decode(File.self, from: bytes(path)) }

    /// The wide window is dense and costs nothing; where keeping pairs costs, every head takes the narrow one; and
    /// where nothing may cost anything, heads are dense.
    @Test func theFileIsTheSameWhateverTheOrderOfPromptsAndTheThreads() throws {
        let folder = try TemporaryDirectory()
        let (a, b) = ("01-red-ball-right", "04-purple-heart-up")
        let weight = ["--density-weight", "0.01"]
        let made = try calibrate(folder.path("a.json"), prompts: [a, b], weight + ["--threads", "2"])
        #expect(made.status == 0, "\(made.errors)")
        #expect(made.errors.contains("dense") && made.errors.contains(Self.narrow), "\(made.errors)")
        let other = try calibrate(folder.path("b.json"), prompts: [b, a], weight + ["--threads", "1"])
        #expect(other.status == 0, "\(other.errors)")
        #expect(try bytes(folder.path("a.json")) == bytes(folder.path("b.json")))
        let table = try file(folder.path("a.json"))
        #expect(table.method == "sta" && table.model == "wan-mini" && table.size == [5, 64, 96])
        #expect(table.prompts == [a, b])
        #expect(table.patterns.map { $0["window-width"] } == ["1", "3"])
        #expect(table.patterns.allSatisfy { $0.count == 6 && $0["tile-width"] == "2" })
        #expect(table.heads.count == 3 && table.heads.joined().count == 24 && table.heads.joined().joined().count == 72)
        for (option, expected) in [("--density-weight=0", 2), ("--density-weight=1e9", 1), ("--loss-limit=0", 0)] {
            let name = folder.path("\(expected).json")
            let weight = expected == 0 ? ["--density-weight=1"] : []
            #expect(try calibrate(name, prompts: [a], [option] + weight).status == 0)
            #expect(try file(name).heads.joined().joined().allSatisfy { $0 == expected }, "\(option)")
        }
        #expect(try calibrate(folder.path("1.json"), prompts: [a]).status == 73)
    }

    /// A method that plans by queries and keys: heads differ, together they keep what was asked for, and a table of one
    /// density is a run at that density.
    @Test(arguments: ["error", "recall"])
    func densitiesAreMovedBetweenHeads(_ measure: String) throws {
        let folder = try TemporaryDirectory()
        func calibrated(_ name: String, _ more: [String]) throws -> CommandRun.Result {
            try CommandRun.run(
                ["calibrate", "--model", Golden.sample("wan-mini"), "--prompt-embedding"]
                    + [Golden.sample("prompts/01-red-ball-right.safetensors"), "--size", "192x128", "--num-frames", "9"]
                    + ["--steps", "3", "--seed", "5", "--sparse", "sparge", "-o", folder.path(name)] + more)
        }
        let made = try calibrated("table.json", ["--density", "0.5", "--measure", measure])
        #expect(made.status == 0, "\(made.errors)")
        let table = try file(folder.path("table.json"))
        let densities = try [1] + table.patterns.map { try #require($0["density"].flatMap(Double.init)) }
        for (step, layers) in table.heads.enumerated() {
            let heads = layers.joined().map { densities[$0] }
            #expect(Set(heads).count > 1)
            #expect(abs(heads.reduce(0, +) / Double(heads.count) - 0.5) < 0.05, "step \(step): \(heads)")
        }
        func render(_ name: String, _ more: [String]) throws -> RunRecord {
            let run = try CommandRun.run(
                [
                    "render", "--model", Golden.sample("wan-mini"), "--prompt-embedding",
                    Golden.sample("prompts/01-red-ball-right.safetensors"), "--size", "192x128", "--num-frames", "9",
                    "--steps", "3", "--seed", "5", "--sparse", "sparge", "--dense-steps", "1", "-o", folder.path(name),
                ] + more)
            #expect(run.status == 0, "\(run.errors)")
            return try RunRecord(path: folder.path(name + ".json"))
        }
        let run = try render("a.y4m", ["--sparse-table", folder.path("table.json")])
        #expect(abs((run.attention?.densityMean ?? 0) - 0.5) < 0.05)
        #expect(try calibrated("one.json", ["--pattern", "density=0.5", "--density-weight", "0"]).status == 0)
        let one = try render("b.y4m", ["--sparse-table", folder.path("one.json"), "--threads", "1"])
        let plain = try render("c.y4m", ["--density", "0.5"])
        #expect(one.latentsSha256 == plain.latentsSha256 && one.latentsSha256 != run.latentsSha256)
        for (more, words) in [
            (["--density", "0.5", "--loss-limit", "1"], "--loss-limit and --density exclude each other"),
            (["--density", "1.5"], "--density: found 1.5"), (["--density", "0.5", "--measure", "x"], "--measure"),
            (["--density", "0.1", "--pattern", "density=0.5"], "which the sparsest patterns keep"),
        ] {
            let refused = try calibrated("no.json", more)
            #expect(refused.status == 64 && refused.errors.contains(words), "\(refused.errors)")
        }
    }

    @Test func aTableServesItsMethodModelAndSizeAndNoOther() throws {
        let folder = try TemporaryDirectory()
        let table = folder.path("table.json")
        let made = try calibrate(table, prompts: ["01-red-ball-right"], ["--density-weight", "1e9"])
        #expect(made.status == 0, "\(made.errors)")
        func render(_ name: String, _ more: [String]) throws -> CommandRun.Result {
            try CommandRun.run(
                smallRender(folder.path(name), steps: 5, "--seed", "5", "--dense-steps", "1")
                    + ["--sparse", "sta", "--save-latents", folder.path(name + ".safetensors")] + more)
        }
        let run = try render("a.y4m", ["--sparse-table", table])
        #expect(run.status == 0, "\(run.errors)")
        // One pattern for all heads is the method with its options.
        let window = Self.narrow.split(separator: ",").flatMap { ["--sparse-option", String($0)] }
        #expect(try render("b.y4m", Self.tiles + window).status == 0)
        #expect(try bytes(folder.path("a.y4m")) == bytes(folder.path("b.y4m")))
        let attention = try RunRecord(path: folder.path("a.y4m.json")).attention
        #expect(attention?.table == table && attention?.options["window-width"] == nil)
        #expect(try attention?.work == RunRecord(path: folder.path("b.y4m.json")).attention?.work)
        let again = try CommandRun.run(["render", "--from", folder.path("a.y4m.json"), "-o", folder.path("c.y4m")])
        #expect(again.status == 0, "\(again.errors)")
        #expect(try bytes(folder.path("a.y4m")) == bytes(folder.path("c.y4m")))
        let mask = try CommandRun.run(
            [
                "mask", "--model", Golden.sample("wan-mini"), "--prompt-embedding",
                Golden.sample("prompts/01-red-ball-right.safetensors"), "--width", "96", "--height", "64",
                "--frames", "5", "--steps", "4", "--step", "1", "--layer", "2", "--sparse", "sta", "--sparse-table", table, "-o",
                folder.path("mask.npy"),
            ])
        #expect(mask.status == 0, "\(mask.errors)")

        func compare(_ methods: String, _ report: String) throws -> CommandRun.Result {
            try CommandRun.run(
                ["compare"] + smallRender(folder.path(report), steps: 5).dropFirst()
                    + ["--seeds", "5", "--methods", methods, "--densities", "0.9", "--sparse-table", table]
                    + ["--sparse-option", "dense-steps=1"])
        }
        // Densities are for methods without a table.
        let compared = try compare("sta", "report")
        #expect(compared.status == 0, "\(compared.errors)")
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let results = try decoder.decode(ComparisonResults.self, from: bytes(folder.path("report/results.json")))
        #expect(results.variants.map(\.label) == ["dense", "sta"])
        #expect(try results.clips[0].rows[1].latentsSha256 == RunRecord(path: folder.path("a.y4m.json")).latentsSha256)
        let other = try compare("radial", "other")
        #expect(other.status == 64 && other.errors.contains("of sta, expected one for each of radial"), "\(other.errors)")

        let used = ["--sparse-table", table, "--dry-run"]
        func refused(_ status: Int32, _ words: String, _ more: [String]) throws {
            let run = try CommandRun.run(smallRender(folder.path("d.y4m"), steps: 5, "--seed", "5") + more)
            #expect(run.status == status && run.errors.contains(words), "\(run.errors)")
        }
        try refused(65, "found a calibration at 96x64, 5 frames", used + ["--sparse", "sta", "--num-frames", "9"])
        try refused(65, "found a table of sta, expected one of sparse-vdit", used + ["--sparse", "sparse-vdit"])
        try refused(64, "expected none without a sparse method", used)
        try refused(64, "expected none beside a table", used + ["--sparse", "sta", "--density", "0.5"])
        try refused(64, "sparse option 'tile-width'", used + ["--sparse", "sta", "--sparse-option", "tile-width=2"])
        let broken = try String(decoding: bytes(table), as: UTF8.self)
        for (part, other, words) in [
            ("\"window-width\":\"1\"", "\"window-width\":\"0\"", "pattern 1"),
            ("[1,1,1]", "[1,1]", "numbers that do not fit"), ("[1,1,1]", "[1,1,3]", "numbers that do not fit"),
            ("\"weights\":\"", "\"weights\":\"0", "found a calibration of weights"),
        ] {
            guard let place = broken.range(of: part) else { Issue.record("no \(part)"); continue }
            try folder.write(broken.replacingCharacters(in: place, with: other), "broken.json")
            try refused(65, words, ["--sparse", "sta", "--sparse-table", folder.path("broken.json"), "--dry-run"])
        }
    }
}
