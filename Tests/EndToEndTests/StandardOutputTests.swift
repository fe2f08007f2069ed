import Foundation
import TestSupport
import Testing
import VDiT

/// `-` in place of a file: its bytes and nothing else.
struct StandardOutputTests {
    private let folder: TemporaryDirectory

    init() throws {
        folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
    }

    /// Runs a command with its standard output going where `to` says, as a shell has it.
    private func vdit(_ arguments: [String], to: String = "> piped") throws -> CommandRun.Result {
        try CommandRun.run(arguments, script: "cd '\(folder.path)' && \"$VDIT\" \"$@\" \(to)")
    }

    private func render(_ arguments: String...) -> [String] {
        [
            "render", "--model", "model", "--prompt-embedding", "a.safetensors", "--size", "32x32", "--num-frames", "5",
            "--steps", "2", "--seed", "1", "--threads", "1",
        ] + arguments
    }

    private static let mask = ["mask", "--sparse", "radial", "--frames", "3", "--height", "4", "--width", "4"]

    @Test func aVideoIsTheSameAsInAFileAndNothingLiesBesideIt() throws {
        #expect(try vdit(render("-o", "v.y4m", "--no-sidecar", "--save-latents", "l.safetensors")).status == 0)
        let names = folder.contents
        let piped = try vdit(render("-o", "-"))
        #expect(piped.status == 0 && piped.errors.contains("standard output: 5 frames"), "\(piped.errors)")
        #expect(try bytes(folder.path("piped")) == bytes(folder.path("v.y4m")))
        #expect(try vdit(["decode", "--latents", "l.safetensors", "-o", "-", "-q"]).status == 0)
        #expect(try bytes(folder.path("piped")) == bytes(folder.path("v.y4m")))
        #expect(folder.contents == names)
    }

    @Test func tensorsAreTheSameAsInAFile() throws {
        let video = ["-o", "v.y4m", "--overwrite"]
        for (arguments, flag) in [(Self.mask, "-o"), (render() + video, "--save-latents")] {
            #expect(try vdit(arguments + [flag, "f.safetensors"]).status == 0)
            #expect(try vdit(arguments + [flag, "-"]).status == 0)
            #expect(try bytes(folder.path("piped")) == bytes(folder.path("f.safetensors")))
        }
    }

    @Test func aReaderThatGoesAwayIsAnErrorInOneLine() throws {
        // More than a pipe holds.
        let large = render("-o", "-", "-q") + ["--size", "64x64", "--num-frames", "17"]
        let closed = "2> said; echo $? > status; } | head -c 10"
        _ = try CommandRun.run(large, script: "cd '\(folder.path)' && { \"$VDIT\" \"$@\" \(closed)")
        #expect(try String(contentsOfFile: folder.path("status"), encoding: .utf8) == "74\n")
        let said = try String(contentsOfFile: folder.path("said"), encoding: .utf8).lowercased()
        #expect(said.hasPrefix("vdit: standard output: ") && said.hasSuffix("broken pipe\n"), "\(said)")
    }

    @Test(arguments: [
        (Self.mask + ["-o", "-"], "is closed"), (["methods", "--json"], "bad file descriptor"),
    ])
    func aClosedStreamIsNoFile(_ arguments: [String], _ words: String) throws {
        let ended = try vdit(arguments, to: ">&-")
        #expect(ended.status == 74 && ended.lines.count == 1, "\(ended.errors)")
        #expect(ended.errors.contains("standard output") && ended.errors.contains(words), "\(ended.errors)")
    }

    @Test(arguments: [
        (["-o", "-", "--json"], "--json"), (["-o", "-", "--save-latents", "-"], "the same file"),
        (["-o", "v.y4m", "--save-latents", "-", "--json"], "--json"), (["-o", "-", "--codec", "h264"], ".mp4"),
        (["-o", "-", "--resume"], "--resume"), (["-o", "-", "--preview-every", "1"], "--preview-path"),
        (["-o", "-", "--contact-sheet", "-"], "the same file"), (["-o", "v.y4m", "--contact-sheet", "-"], "does not take"),
    ])
    func whatItCannotTakeIsRefusedByName(_ arguments: [String], _ words: String) throws {
        let names = folder.contents
        let refused = try vdit(render() + arguments, to: "")
        #expect(refused.status == 64 && refused.lines.count == 1 && refused.output.isEmpty, "\(refused.errors)")
        #expect(refused.errors.contains(words), "\(refused.errors)")
        #expect(folder.contents == names)
    }
}
