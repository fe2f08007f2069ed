import Foundation
import TestSupport
import Testing
import VDiT

/// What a person can get wrong on the command line: one line, the right exit status, nothing computed or made.
struct CommandLineTests {
    struct Mistake: Sendable, CustomTestStringConvertible {
        let arguments: [String]
        let status: Int32
        let text: String
        var testDescription: String { arguments.joined(separator: " ") }

        init(_ arguments: String..., status: Int32 = 64, says text: String) {
            self.arguments = arguments
            self.status = status
            self.text = text
        }
    }

    static let prompt = Golden.sample("prompts/01-red-ball-right.safetensors")

    static let sampling = [
        Mistake("--height", "0", says: "height: found 0"),
        Mistake("--height", "-16", says: "height: found -16"),
        Mistake("--height", "97", says: "use 96 or 112"),
        Mistake("--width", "1000000000", says: "width: found 1000000000"),
        Mistake("--width", "1e3", says: "'1e3'"),
        Mistake("--size", "160", says: "'160'"),
        Mistake("--size", "160x96", "--width", "160", says: "--size"),
        Mistake("--num-frames", "0", says: "num_frames: found 0"),
        Mistake("--num-frames", "2", says: "use 1 or 5"),
        Mistake("--num-frames", "82", says: "use 81 or 85"),
        Mistake("--num-frames", "1000000000", says: "num_frames: found 1000000000"),
        Mistake("--size", "4096x4096", "--num-frames", "401", says: "tokens: found 6619136, expected at most"),
        Mistake("--steps", "0", says: "steps: found 0"),
        Mistake("--steps", "-1", says: "steps: found -1"),
        Mistake("--steps", "1000000", says: "steps: found 1000000"),
        Mistake("--steps", "fifty", says: "'fifty'"),
        Mistake("--guidance-scale", "nan", says: "guidance_scale: found nan"),
        Mistake("--guidance-scale", "inf", says: "guidance_scale: found inf"),
        Mistake("--guidance-scale", "-1", says: "guidance_scale: found -1.0"),
        Mistake("--guidance-scale", "5,0", says: "'5,0'"),
        Mistake("--guidance-scale-2", "3", says: "one transformer"),
        Mistake("--guidance-interval", "0.9:0.1", says: "guidance_interval"),
        Mistake("--guidance-interval", "0.5", says: "'0.5'"),
        Mistake("--flow-shift", "0", says: "flow_shift: found 0.0"),
        Mistake("--flow-shift", "-3", says: "flow_shift: found -3.0"),
        Mistake("--flow-shift", "nan", says: "flow_shift: found nan"),
        Mistake("--seed", "-1", says: "seed: found -1"),
        Mistake("--seed", "18446744073709551616", says: "'18446744073709551616'"),
        Mistake("--seed", "abc", says: "'abc'"),
        Mistake("--fps", "0", says: "'0'"),
        Mistake("--fps", "nan", says: "'nan'"),
        Mistake("--fps", "1e9", says: "'1e9'"),
        Mistake("--scheduler", "unipcc", says: "'unipcc'"),
        Mistake("--sigma-spacing", "original", "--scheduler", "euler", says: "only unipc"),
        Mistake("--threads", "0", says: "threads: found 0"),
        Mistake("--threads", "-2", says: "threads: found -2"),
        Mistake("--threads", "9999", says: "threads: found 9999"),
        Mistake("--precision", "int4", says: "'int4'"),
        Mistake("--flow-shift", "1e-300", says: "flow_shift: found 1e-300"),
        Mistake("--memory-limit", "lots", says: "'lots'"),
        Mistake("--memory-limit", "1M", status: 71, says: "1 MiB"),
        Mistake("--checkpoint-every", "0", says: "checkpoint_every: found 0"),
        Mistake("--preview-every", "0", says: "preview interval: found 0"),
        Mistake("--preview-path", "p.png", says: "--preview-every"),
        Mistake("--num-frames", "82", "--frame-rounding", "nearest", says: "'nearest'"),
        Mistake("--skip-existing", "--overwrite", says: "--skip-existing and --overwrite"),
        Mistake("--from", "FOLDER/none.json", status: 66, says: "none.json"),
        Mistake("--heigth", "96", says: "--height"),
        Mistake("--quiet", "--verbose", says: "--quiet and --verbose"),
    ]

    static let methods = [
        Mistake("--sparse", "radiall", says: "did you mean radial?"),
        Mistake("--sparse", "radial", "--sparse-option", "decay=1000", says: "decay"),
        Mistake("--sparse", "radial", "--sparse-option", "block=0", says: "block"),
        Mistake("--sparse", "radial", "--sparse-option", "decay", says: "name=value"),
        Mistake("--sparse", "radial", "--sparse-option", "bloc=64", says: "did you mean 'block'"),
        Mistake("--sparse", "svg2", "--sparse-option", "decay=1", says: "belongs to radial"),
        Mistake("--sparse-option", "decay=0.5", says: "decay"),
        Mistake("--density", "0", says: "density"),
        Mistake("--density", "1.5", says: "density"),
        Mistake("--sparse", "radial", "--density", "nan", says: "density"),
        Mistake("--sparse-fallback", "maybe", says: "'maybe'"),
    ]

    static let outputs = [
        Mistake("-o", "FOLDER/missing/a.mp4", status: 73, says: "does not exist"),
        Mistake("-o", "FOLDER/a", says: "no file name extension"),
        Mistake("-o", "FOLDER/a.avi", says: ".avi"),
        Mistake("-o", "FOLDER/", says: "FOLDER/"),
        Mistake("-o", "FOLDER/folder.mp4", status: 73, says: "is a directory"),
        Mistake("-o", "FOLDER/exists.mp4", status: 73, says: "'overwrite'"),
        Mistake("-o", "FOLDER/a.mov", "--codec", "vp9", says: "codec"),
        Mistake("-o", "FOLDER/a.gif", "--crf", "20", says: "crf"),
        Mistake("--codec", "divx", says: "'divx'"),
        Mistake("--crf", "99", says: "0 to 51"),
        Mistake("--crf", "-1", says: "0 to 51"),
        Mistake("--preset", "warp", says: "preset"),
        Mistake("--pixel-format", "yuv999", says: "pixel format"),
        Mistake("-o", "FOLDER/a.png", "--png-depth", "12", says: "'12'"),
        Mistake("--save-latents", "FOLDER/out.mp4", says: "same file as the"),
        Mistake("--save-latents", "FOLDER/missing/l.safetensors", status: 73, says: "does not exist"),
        Mistake("--contact-sheet", "FOLDER/exists.mp4", status: 73, says: "'overwrite'"),
        Mistake("--preview-every", "1", "--preview-path", "FOLDER/exists.mp4", status: 73, says: "'overwrite'"),
        Mistake("--save-latents", "", says: "final latents: the path is empty"),
        Mistake("--contact-sheet", "", says: "contact sheet: the path is empty"),
        Mistake("--save-trajectory", "", says: "trajectory: the path is empty"),
    ]

    static let inputs = [
        Mistake("--model", "FOLDER/none", status: 66, says: "model_index.json"),
        Mistake("--model", "FOLDER/folder.mp4", status: 66, says: "model_index.json"),
        Mistake("--model", Golden.sample("wan-mini/transformer"), status: 65, says: "one component"),
        Mistake("--prompt-embedding", "FOLDER/none.safetensors", status: 66, says: "no such file"),
        Mistake("--prompt-embedding", "FOLDER/folder.mp4", status: 66, says: "directory"),
        Mistake("--prompt-embedding", "FOLDER/text.pt", status: 65, says: "save_file"),
        Mistake("--prompt-embedding", "FOLDER/nan.safetensors", status: 65, says: "NaN"),
        Mistake("--prompt-embedding", "FOLDER/wide.safetensors", status: 65, says: "width"),
        Mistake("--prompt-embedding", "FOLDER/batch.safetensors", status: 65, says: "batch"),
        Mistake("--prompt-embedding", "FOLDER/line\nbreak.safetensors", status: 66, says: "line\\nbreak"),
        Mistake("--negative-prompt-embedding", "FOLDER/wide.safetensors", status: 65, says: "width"),
        Mistake("--latents", "FOLDER/wide.safetensors", status: 65, says: "latents"),
        Mistake("--latents", "FOLDER/none.safetensors", status: 66, says: "no such file"),
        Mistake("--latents", "/dev/zero", status: 66, says: "device"),
        Mistake("--model", "", says: "model: the path is empty"),
        Mistake("--prompt-embedding", "", says: "the path is empty"),
        Mistake("--latents", "", says: "the path is empty"),
    ]

    @Test(arguments: sampling + methods + outputs + inputs)
    func renderRefuses(_ mistake: Mistake) throws {
        let folder = try TemporaryDirectory()
        try FileManager.default.createDirectory(atPath: folder.path("folder.mp4"), withIntermediateDirectories: true)
        try folder.write("precious", "exists.mp4")
        try folder.write("pickle", "text.pt")
        let embeddings = [
            "nan": Tensor([Float](repeating: .nan, count: 384), shape: [1, 1, 384]),
            "wide": Tensor(.f32, [1, 32, 385]), "batch": Tensor(.f32, [2, 32, 384]),
        ]
        for (name, tensor) in embeddings {
            try SafetensorsWriter.write(
                ["prompt_embeds": tensor], to: folder.path("\(name).safetensors"), existing: .refuse)
        }
        let before = folder.contents

        var arguments = ["--model", Golden.sample("wan-mini"), "--prompt-embedding", Self.prompt, "-o", "FOLDER/out.mp4"]
        // A later option of the same name wins, as everywhere.
        arguments += mistake.arguments
        let result = try CommandRun.run(
            ["render"] + arguments.map { $0.replacingOccurrences(of: "FOLDER", with: folder.path) })
        #expect(result.status == mistake.status, "\(result.errors)")
        #expect(result.lines.count == 1 && result.errors.hasPrefix("vdit: "), "\(result.errors)")
        let text = mistake.text.replacingOccurrences(of: "FOLDER", with: folder.path)
        #expect(result.errors.contains(text), "\(result.errors)")
        #expect(result.output.isEmpty)
        #expect(folder.contents == before)
    }

    static let commands = [
        Mistake("rendr", says: "rendr"),
        Mistake("render", says: "--model"),
        Mistake("render", "--steps", says: "--steps"),
        Mistake("decode", "-o", "a.mp4", says: "--latents"),
        Mistake("decode", "--latents", "/nonexistent.safetensors", "-o", "a.mp4", status: 66, says: "no such file"),
        Mistake("decode", "--latents", prompt, "-o", "a.mp4", says: "expected a model"),
        Mistake(
            "decode", "--latents", prompt, "--model", Golden.sample("wan-mini"), "-o", "a.mp4", status: 65,
            says: "latents"),
        Mistake("predict", "--model", "/nonexistent", "--inputs", prompt, "-o", "a.safetensors", status: 66, says: "no such file"),
        Mistake("inspect", "/nonexistent", status: 66, says: "no such file"),
        Mistake("inspect", "/dev/null", status: 66, says: "device"),
        Mistake("inspect", Golden.path("safetensors-bad/header-truncated.safetensors"), status: 65, says: "header"),
        Mistake("info", prompt, status: 65, says: prompt),
        Mistake("methods", "nope", says: "nope"),
        Mistake("bench", "attention", "--head-dim", "7", says: "--head-dim"),
        Mistake("bench", "attention", "--tokens", "0", says: "--tokens"),
        Mistake("bench", "attention", "--tokens", "1000000", "--block", "1", says: "--block"),
        Mistake("bench", "linear", "--rows", "-1", says: "--rows"),
        Mistake(
            "mask", "--sparse", "radial", "--frames", "1000", "--height", "100", "--width", "100", "-o", "m.png",
            says: "blocks of the sparse method: found 156250, expected at most"),
        Mistake(
            "mask", "--sparse", "radial", "--sparse-option", "block=16", "--frames", "100", "--height", "100",
            "--width", "100", "-o", "m.png", says: "blocks of the sparse method: found 62500"),
        Mistake("bench", "layer", "--tokens", "7", says: "1560"),
        Mistake("bench", "checkpoint", "-o", "", says: "checkpoint: the path is empty"),
        Mistake("inspect", "", says: "the path is empty"),
        Mistake("info", "", says: "the path is empty"),
        Mistake("rendr", says: "did you mean render?"),
        Mistake("batch", "", says: "the path is empty"),
        Mistake("predict", "--model", "", "--inputs", prompt, "-o", "a.safetensors", says: "model: the path is empty"),
        Mistake(
            "predict", "--model", Golden.sample("wan-mini"), "--inputs", prompt, "-o", "",
            says: "prediction: the path is empty"),
        Mistake("decode", "--latents", "", "--model", Golden.sample("wan-mini"), "-o", "a.mp4", says: "the path is empty"),
        Mistake("compare", prompt, prompt, "--csv", "", says: "table of frames: the path is empty"),
        Mistake(
            "compare", "--model", Golden.sample("wan-mini"), "--prompt-embedding", prompt, "--methods", "dense,draft",
            "-o", "", says: "report: the path is empty"),
    ]

    @Test(arguments: commands)
    func commandRefuses(_ mistake: Mistake) throws {
        let result = try CommandRun.run(mistake.arguments)
        #expect(result.status == mistake.status, "\(result.errors)")
        #expect(result.lines.count == 1 && result.errors.hasPrefix("vdit: "), "\(result.errors)")
        #expect(result.errors.contains(mistake.text), "\(result.errors)")
        #expect(result.output.isEmpty)
    }

    @Test(arguments: [("VDIT_STEPS", "many"), ("VDIT_THREADS", "0"), ("VDIT_ISA", "z80"), ("VDIT_SEED", "-4")])
    func environmentIsCheckedAndNamed(_ variable: String, _ value: String) throws {
        let folder = try TemporaryDirectory()
        let result = try CommandRun.run(
            ["render", "--model", Golden.sample("wan-mini"), "--prompt-embedding", Self.prompt, "-o", folder.path("a.mp4")],
            environment: [variable: value])
        #expect(result.status == 64, "\(result.errors)")
        #expect(result.lines.count == 1)
        let setting = variable.dropFirst(5).lowercased()
        #expect(result.errors.contains(variable) || result.errors.contains("\(setting): found \(value)"))
    }

    @Test(arguments: ["exec \"$VDIT\" doctor > /dev/full", "exec \"$VDIT\" doctor >&-"])
    func outputThatCannotBeDeliveredIsAnIOError(_ script: String) throws {
        let result = try CommandRun.run([], script: script)
        #expect(result.status == 74)
        #expect(result.errors.hasPrefix("vdit: standard output: "))
    }
}
