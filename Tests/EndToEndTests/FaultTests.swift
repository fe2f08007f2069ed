import Foundation
import TestSupport
import Testing
import VDiT

/// Writes, syncs, renames, mappings and openings of files fail, each in a run of its own: that run ends in an error that
/// is one, nothing is left half-written, and the same command then makes what it would have made.
///
/// With `VDIT_FAULTS` set every call of a run fails once; without it the first, the fifth, the 25th and so on.
/// Figures are in docs/reliability.md.
struct FaultTests {
    private static let factor = ProcessInfo.processInfo.environment["VDIT_FAULTS"] == nil ? 5 : 1
    private static let kinds = ["write", "fsync", "rename", "mmap", "open"]
    /// Everything but a bug of ours, and a batch with jobs that failed.
    private static let endings: [Int32] = [0, 1, 64, 65, 66, 69, 71, 73, 74, 75, 77, 78]

    private let fixture: BatchFixture
    private var folder: TemporaryDirectory { fixture.folder }

    init() throws {
        fixture = try BatchFixture(
            "matrix: {seed: [1, 2]}\njobs:\n  - {name: clip}\n  - {name: quality, compare: clip, reference: {seed: 1}, "
                + "output: 'out/{seed}.quality.json'}")
        let source = Golden.root.appendingPathComponent("Tests/Faults/fail_nth.c").path
        let made = try CommandRun.run(
            ["-shared", "-fPIC", "-o", folder.path("fail_nth.so"), source], script: "cc \"$@\" || clang \"$@\"")
        #expect(made.status == 0, "\(made.errors)")
    }

    /// Runs a command again and again, with one call failing each time.
    ///
    /// - Parameter look: called after each such run, with what failed.
    /// - Returns: how many failed.
    private func fail(_ arguments: [String], _ look: (String, CommandRun.Result) throws -> Void) throws -> Int {
        var failed = 0
        for kind in Self.kinds {
            var place = 1
            while true {
                let mark = folder.path("failed")
                let ended = try fixture.vdit(
                    arguments, environment: ["FAIL_KIND": kind, "FAIL_AT": "\(place)", "FAIL_MARK": mark],
                    wrapper: "env LD_PRELOAD=./fail_nth.so")
                guard unlink(mark) == 0 else { break }
                failed += 1
                #expect(Self.endings.contains(ended.status), "\(kind) \(place): \(ended.status) \(ended.errors)")
                try look("\(kind) \(place)", ended)
                place = Self.factor == 1 ? place + 1 : place * Self.factor
            }
        }
        return failed
    }

    /// What lies in a folder, by name; records only by what they say.
    private func files(_ name: String) throws -> [String: Data] {
        var files: [String: Data] = [:]
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path(name))) ?? []
        for file in names {
            let path = folder.path("\(name)/\(file)")
            files[file] = file.hasSuffix(".mkv.json") ? Data(try RunRecord(path: path).latentsSha256.utf8) : try bytes(path)
        }
        return files
    }

    @Test func aRender() throws {
        let render = [
            "render", "--model", "model", "--prompt-embedding", "a.safetensors", "--size", "32x32", "--num-frames", "5",
            "--steps", "2", "--seed", "1", "--threads", "1", "--codec", "ffv1", "-q", "--checkpoint-every", "1", "--resume",
            "-o", "out/v.mkv", "--contact-sheet", "out/s.png", "--save-latents", "out/l.safetensors",
        ]
        func clear() throws {
            try? FileManager.default.removeItem(atPath: folder.path("out"))
            try FileManager.default.createDirectory(atPath: folder.path("out"), withIntermediateDirectories: true)
        }
        try clear()
        #expect(try fixture.vdit(render).status == 0)
        let whole = try files("out")
        #expect(whole.keys.sorted() == ["l.safetensors", "s.png", "v.mkv", "v.mkv.json"])
        try clear()
        let failed = try fail(render) { what, ended in
            #expect(ended.status == 0 || ended.lines.count == 1, "\(what): \(ended.errors)")
            for (name, content) in try files("out") where !name.hasSuffix(".vdit-checkpoint") {
                #expect(whole[name] == content, "\(what) left another \(name)")
            }
            let again = try fixture.vdit(render)
            #expect(again.status == 0, "after \(what): \(again.errors)")
            #expect(try files("out") == whole, "after \(what)")
            try clear()
        }
        #expect(failed >= Self.kinds.count)
    }

    @Test func aBatch() throws {
        #expect(try fixture.vdit(["batch", "batch.yaml", "-q"]).status == 0)
        let (videos, comparisons) = (try fixture.videos(), try fixture.comparisons())
        func clear() throws { try FileManager.default.removeItem(atPath: folder.path("out")) }
        try clear()
        let failed = try fail(["batch", "batch.yaml", "-q"]) { what, ended in
            if !FileManager.default.fileExists(atPath: folder.path("out")) { return }
            for (name, video) in try fixture.videos() { #expect(videos[name] == video, "\(what) left another \(name)") }
            _ = try fixture.vdit(["batch", "retry", "batch.yaml"])
            let again = try fixture.vdit(["batch", "batch.yaml", "-q"])
            #expect(again.status == 0, "after \(what): \(again.errors)")
            #expect(try fixture.videos() == videos && fixture.comparisons() == comparisons, "after \(what)")
            #expect(try fixture.leftovers().isEmpty, "after \(what)")
            try clear()
        }
        #expect(failed >= Self.kinds.count)
    }

    @Test func aComparison() throws {
        #expect(try fixture.vdit(["batch", "batch.yaml", "-q"]).status == 0)
        let compare = [
            "compare", "out/clip-1.mkv", "out/clip-2.mkv", "--csv", "t/frames.csv", "--markdown", "t/table.md", "--overwrite",
        ]
        try FileManager.default.createDirectory(atPath: folder.path("t"), withIntermediateDirectories: true)
        #expect(try fixture.vdit(compare).status == 0)
        let whole = try files("t")
        func clear() throws { for name in whole.keys { unlink(folder.path("t/\(name)")) } }
        try clear()
        let failed = try fail(compare) { what, ended in
            #expect(ended.status == 0 || ended.lines.count == 1, "\(what): \(ended.errors)")
            for (name, content) in try files("t") { #expect(whole[name] == content, "\(what) left another \(name)") }
            #expect(try fixture.vdit(compare).status == 0)
            #expect(try files("t") == whole, "after \(what)")
            try clear()
        }
        #expect(failed >= Self.kinds.count - 1, "it maps no file")
    }
}
