import Foundation
import Glibc
import TestSupport
import Testing
import VDiT

/// Files whose names are not UTF-8: names are bytes, and every command takes and makes them.
struct PathBytesTests {
    private let folder: TemporaryDirectory

    /// A model, prompts, and a folder to work in, all with a byte in their name that is no text.
    init() throws {
        folder = try TemporaryDirectory()
        let text = try PromptRenderTests.model(in: folder)
        try folder.write("a cat", "prompt.txt")
        try folder.write(
            """
            version: 1
            output: ${PLACE}/{seed}.mkv
            defaults: {model: "${PLACE}/model", prompt_embedding: "p\\uF7E9.safetensors", size: 32x32, num_frames: 5,
                steps: 2, threads: 1, codec: ffv1}
            matrix: {seed: [1, 2]}
            jobs: [{name: clip}]
            """, "batch.yaml")
        let made = try CommandRun.run(
            [text],
            script: """
                cd '\(folder.path)' && B=$(printf '\\351') && mkdir "d$B" && mv model a.safetensors prompt.txt batch.yaml "d$B" \
                && cd "d$B" && mv model "m$B" && mv a.safetensors "p$B.safetensors" && mv prompt.txt "t$B.txt" \
                && mv batch.yaml "b$B.yaml"
                """)
        #expect(made.status == 0, "\(made.errors)")
    }

    private static let settings = "--size 32x32 --num-frames 5 --seed 1 --threads 1 --quiet"

    /// Runs shell commands in the folder, in which `$B` is the byte, `$R` a render without its steps and output.
    private func start(_ script: String) throws -> CommandRun {
        try CommandRun(
            [],
            script: """
                set -e; B=$(printf '\\351'); cd '\(folder.path)'"/d$B"
                R="$VDIT render --model m$B --prompt-embedding p$B.safetensors \(Self.settings)"; \(script)
                """)
    }

    private func expect(_ script: String, _ output: String = "", status: Int32 = 0, _ words: String = "") throws {
        let ended = try start(script).finish()
        #expect(ended.status == status && ended.output.hasPrefix(output) && (words.isEmpty || ended.errors.contains(words)),
            "\(ended.status) \(ended.output) \(ended.errors)")
    }

    @Test func aRenderOfThemIsOneOfOtherNames() throws {
        try expect("$R --steps 2 -o \"o$B.mkv\" --preview-every 1 --preview-path \"v$B.png\"")
        try expect("cp -r \"m$B\" m; cp \"p$B.safetensors\" p.safetensors")
        let plain = "render --model m --prompt-embedding p.safetensors \(Self.settings) --steps 2"
        try expect("\"$VDIT\" \(plain) -o o.mkv; cmp o.mkv \"o$B.mkv\"; test -e \"o$B.mkv.json\" -a -e \"v$B.png\"")
        // Nothing else was made, under whatever name.
        try expect("ls -A | wc -l", "11")
        // The record leads to them.
        try expect("\"$VDIT\" render --from \"o$B.mkv.json\" -o \"again$B.mkv\" -q; cmp o.mkv \"again$B.mkv\"")
        try expect("$R --steps 2 -o \"o$B.mkv\" --skip-existing")
        try expect("$R --steps 2 -o \"o$B.mkv\"", status: 73, "o\\xE9.mkv.json: exists already")
        try expect("\"$VDIT\" info \"o$B.mkv\"")
        try expect("\"$VDIT\" inspect \"m$B\"; \"$VDIT\" inspect \"p$B.safetensors\"")
        try expect("\"$VDIT\" compare \"o$B.mkv\" o.mkv --csv \"c$B.csv\"; test -s \"c$B.csv\"")
        try expect("\"$VDIT\" compare none$B.mkv o.mkv", status: 66, "none\\xE9.mkv")
        try expect("$R --steps 2 -o \"./p$B.safetensors\" --overwrite", status: 64)
    }

    @Test func aRenderThatIsStoppedGoesOn() throws {
        let job = "$R --steps 120 --log-format json --checkpoint-every 1"
        let run = try start("exec ${R%--quiet} --steps 120 --log-format json -o \"o$B.mkv\"")
        #expect(run.waits(for: #""step":3,"#), "\(run.errorsSoFar)")
        run.send(SIGTERM)
        #expect(try run.finish().status == 143)
        try expect("test -e \"o$B.mkv.vdit-checkpoint\"")
        try expect("\(job) -o \"o$B.mkv\" --resume; \(job) -o o.mkv; cmp o.mkv \"o$B.mkv\"")
    }

    @Test func everyOtherCommandTakesThem() throws {
        try expect("\"$VDIT\" embed --model \"m$B\" --prompt-file \"t$B.txt\" -o \"e$B.safetensors\"")
        try expect("\"$VDIT\" embed --model \"m$B\" --prompt 'a cat' -o e.safetensors; cmp e.safetensors \"e$B.safetensors\"")
        try expect("\"$VDIT\" mask --sparse radial --frames 3 --height 4 --width 4 -o \"k$B.png\"; test -s \"k$B.png\"")
        try expect("mkdir \"f$B\"; $R --steps 1 -o \"f$B/%03d.png\"; \"$VDIT\" compare \"f$B\" \"f$B/%03d.png\"")
        let compare = "\"$VDIT\" compare --model \"m$B\" --prompt-embedding \"p$B.safetensors\" --methods dense,draft@0.8"
        try expect("\(compare) --steps 1 --size 128x128 --num-frames 9 -o \"r$B\" -q; test -s \"r$B/report.html\"")
        // From the environment too.
        try expect("VDIT_TEXT_ENCODER=\"m$B/text_encoder\" ${R%--prompt*} \(Self.settings) --prompt a --steps 1 -o t.mkv")
    }

    @Test func aBatchInThemMakesThem() throws {
        let batch = "ln -s \"m$B\" model; PLACE=\"$PWD\" \"$VDIT\" batch"
        try expect("\(batch) run \"b$B.yaml\" -q; test -s 1.mkv -a -s 2.mkv; ls *.sqlite | od -An -c | grep -q '351'")
        try expect("PLACE=\"$PWD\" \"$VDIT\" batch status \"b$B.yaml\" | grep -q done")
        try expect("PLACE=\"$PWD\" \"$VDIT\" batch \"b$B.yaml\" --slurm --emit-only | od -An -c | grep -q '351'")
    }

    /// Words are no name.
    @Test func wordsThatAreNoTextAreRefused() throws {
        try expect("${R%--prompt*} \(Self.settings) --prompt \"caf$B\" -o o.mkv", status: 64, "not UTF-8")
        try expect("VDIT_FPS=\"f$B\" $R -o o.mkv", status: 64, "VDIT_FPS: fps: found 'f\\xE9'")
    }
}
