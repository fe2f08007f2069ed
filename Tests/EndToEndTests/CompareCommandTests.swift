import Foundation
import TestSupport
import Testing
import VDiT

/// `vdit compare` as a person runs it.
@Suite struct CompareCommandTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private func clip(_ name: String, frames: Int = 4, brighter: Int = 0) throws -> String {
        let path = folder.path(name)
        let pictures = (0..<frames).map { index in
            Clips.frame(32, 24, .eight) { row, column, _ in 40 + row + column + index + brighter }
        }
        try Clips.write(pictures, to: path, Clips.options { $0.codec = .ffv1 })
        return path
    }

    @Test func filesAreComparedInATableJSONAndCSV() throws {
        let (reference, close) = (try clip("a.mkv"), try clip("b.mkv", brighter: 1))
        let far = try clip("c.mkv", brighter: 10)
        let table = try CommandRun.run(
            ["compare", reference, close, far, "--csv", folder.path("t.csv"), "--markdown", folder.path("t.md")])
        #expect(table.status == 0 && table.errors == "")
        let lines = table.output.split(separator: "\n")
        #expect(lines.count == 3 && lines[0].hasPrefix("candidate"))
        #expect(lines[1].contains("48.13") && lines[2].contains("28.13"))
        let csv = try String(contentsOfFile: folder.path("t.csv"), encoding: .utf8)
        #expect(csv.split(separator: "\n").count == 9)
        #expect(csv.hasPrefix("candidate,frame,psnr_db,"))
        #expect(try CommandRun.run(["compare", reference, close, far, "--csv", "-"]).output == csv)
        #expect(try String(contentsOfFile: folder.path("t.md"), encoding: .utf8).hasPrefix("| candidate |"))
        let json = try CommandRun.run(["compare", reference, close, reference, "--json"])
        let object = try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any]
        let candidates = try #require(object?["candidates"] as? [[String: Any]])
        let qualities = candidates.compactMap { $0["quality"] as? [String: Any] }
        #expect(abs((qualities[0]["psnr"] as? Double ?? 0) - 48.1308) < 1e-3)
        #expect(qualities[1]["psnr"] is NSNull && qualities[1]["identical_frames"] as? Int == 4)
        #expect(json.errors.contains("warning:") && json.errors.contains("are the same file"))
    }

    @Test func aLimitThatIsMissedEndsWithOne() throws {
        let (reference, close) = (try clip("a.mkv"), try clip("b.mkv", brighter: 1))
        #expect(try CommandRun.run(["compare", reference, close, "--min-psnr", "48"]).status == 0)
        let missed = try CommandRun.run(["compare", reference, close, "--min-psnr", "49"])
        #expect(missed.status == 1 && missed.output.contains("48.13"))
        #expect(missed.lines.last?.hasSuffix("dB is below 49.0 dB") == true)
        let same = folder.path("same.mkv")
        try FileManager.default.copyItem(atPath: reference, toPath: same)
        #expect(try CommandRun.run(["compare", reference, same, "--min-psnr", "1000"]).status == 0)
    }

    @Test func whatCannotBeComparedEndsInOneLine() throws {
        let (reference, short) = (try clip("a.mkv"), try clip("b.mkv", frames: 2))
        let refused = try CommandRun.run(["compare", reference, short])
        #expect(refused.status == 65 && refused.lines.count == 1 && refused.output == "")
        let cut = try CommandRun.run(["compare", reference, short, "--align"])
        #expect(cut.status == 0 && cut.output.contains("identical"))
        #expect(cut.errors.contains("only the first 2 frames"))
        let cases: [([String], Int32, String)] = [
            ([], 64, "expected a reference and at least one candidate"),
            ([reference], 64, "expected a reference and at least one candidate"),
            ([reference, short, "--min-psnr", "nan"], 64, "--min-psnr: found nan"),
            ([reference, short, "--min-psnr", "high"], 64, "--min-psnr"),
            ([reference, short, "--methods", "radial"], 64, "--methods needs --model"),
            ([reference, short, "--model", "m"], 64, "files and --model contradict each other"),
            (["--model", "m"], 64, "--model needs --prompt"),
            (["--model", "m", "--prompt-embedding", "p", "--methods", "radial"], 64, "--model needs --output"),
            (["--model", "m", "--prompt-embedding", "p", "-o", "r"], 64, "--model needs --methods"),
            ([reference, folder.path("none.mkv")], 66, "none.mkv"),
            ([reference, short, "--align", "--csv", reference], 64, "would replace the compared video"),
            ([reference, reference, "--csv", short], 73, "exists already"),
            ([reference, short, "--align", "--csv", folder.path("no/t.csv")], 73, "does not exist"),
        ]
        for (arguments, status, text) in cases {
            let run = try CommandRun.run(["compare"] + arguments)
            #expect(run.status == status && run.errors.contains(text), "\(arguments): \(run.status) \(run.errors)")
            #expect(run.lines.count == 1, "\(run.errors)")
        }
    }

    @Test func methodsAreComparedAndResumedFromTheCommandLine() throws {
        try TinyModel.write(to: folder)
        let arguments = [
            "compare", "--model", folder.path("model"), "--prompt-embedding", folder.path("a.safetensors"),
            folder.path("b.safetensors"), "--negative-prompt-embedding", folder.path("empty.safetensors"),
            "--methods", "dense,draft", "--densities", "0.6", "--seeds", "3,4", "--size", "128x128",
            "--num-frames", "9", "--steps", "2", "--sparse-option", "dense-steps=0,dense-layers=0",
            "-o", folder.path("report"),
        ]
        let plan = try CommandRun.run(arguments + ["--dry-run"])
        #expect(plan.status == 0 && plan.output.contains("8, 0 of them finished"))
        #expect(!FileManager.default.fileExists(atPath: folder.path("report")))
        // Killed without warning in its third render.
        let killed = try CommandRun(arguments)
        #expect(killed.waits(for: "[3/8]"))
        killed.send(SIGKILL)
        #expect(try killed.finish().status == 128 + SIGKILL)
        let rest = try CommandRun.run(arguments + ["--markdown", folder.path("t.md")])
        #expect(rest.status == 0 && rest.output.contains("draft 0.6"))
        #expect(rest.lines.count { $0.hasSuffix("finished already") } >= 2)
        #expect(rest.lines.last == folder.path("report/report.html"))
        #expect(FileManager.default.fileExists(atPath: folder.path("report/b-seed4.mp4")))
        #expect(try String(contentsOfFile: folder.path("t.md"), encoding: .utf8).contains("(2 prompts, seeds 3, 4)"))
        let parts = try FileManager.default.subpathsOfDirectory(atPath: folder.path("report"))
            .filter { $0.hasSuffix(".part") || $0.hasSuffix(".vdit-checkpoint") }
        #expect(parts.isEmpty, "\(parts)")
    }

    @Test func theScriptOfTheMethodTablePlansItsRenders() throws {
        let out = folder.path("table")
        let run = try CommandRun.run(
            [Golden.root.appendingPathComponent("scripts/method-table").path, out, "--dry-run"],
            script: "exec \"$@\"")
        #expect(run.status == 0, "\(run.errors)")
        #expect(run.output.contains("172, 0 of them finished"))
        for variant in ["mass 0.2", "psa 0.2", "radial 0.2", "svg2 0.2", "draft 0.2", "rettention 0.2"] {
            #expect(run.output.contains(variant))
        }
    }
}
