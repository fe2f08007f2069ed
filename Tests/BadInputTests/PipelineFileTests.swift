import Foundation
import TestSupport
import Testing
import VDiT

/// Mistakes in pipeline files: what is said, and on which line.
struct PipelineFileTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let name: String
        let text: String
        /// Line and a part of the message, of every problem, in order.
        let problems: [(Int, String)]
        var kind = FailureKind.configuration
        var overrides: [String] = []
        var testDescription: String { name }

        init(_ name: String, _ text: String, _ problems: [(Int, String)], _ kind: FailureKind = .configuration, set: [String] = []) {
            self.name = name
            self.text = text
            self.problems = problems
            self.kind = kind
            overrides = set
        }
    }

    /// A file that is right; cases change one thing in it.
    static let good = """
        version: 1
        output: out/{job}-{seed}.mkv
        defaults:
          model: model
          prompt_embedding: a.safetensors
          size: 32x32
          num_frames: 5
          steps: 2
        jobs:
          - name: one
            seed: 1
          - name: two
            seed: 2

        """

    static func changed(_ line: String, _ replacement: String) -> String {
        precondition(good.contains(line))
        return good.replacingOccurrences(of: line, with: replacement)
    }

    /// With a job on line 14 that compares.
    static func compared(_ keys: String) -> String { good + "  - {name: q, \(keys), output: q.json}\n" }

    static let cases: [Case] = [
        Case("empty", "", [(1, "the file is empty")]),
        Case("only a comment", "# nothing\n", [(1, "the file is empty")]),
        Case("a list", "- 1\n- 2\n", [(1, "found a list, expected a mapping")]),
        Case("a word", "pipeline\n", [(1, "found 'pipeline', expected a mapping")]),
        Case("tabs", changed("  model: model", "\tmodel: model"), [(4, "not YAML")], .badData),
        Case("broken flow", changed("seed: 1", "seed: [1"), [(12, "not YAML")], .badData),
        Case("two documents", good + "---\nversion: 1\n", [(14, "a second document")]),
        Case("no version", changed("version: 1\n", ""), [(1, "version: missing")]),
        Case("version of the future", changed("version: 1", "version: 2"), [(1, "version: found '2', expected an integer from 1 to 1")]),
        Case("unknown key", changed("output: out", "outptu: out"), [(2, "unknown key 'outptu'; did you mean 'output'?")]),
        Case("unknown setting", changed("steps: 2", "step: 2"), [(8, "defaults: unknown key 'step'; did you mean 'steps'?")]),
        Case("flag spelling", changed("num_frames: 5", "num-frames: 5"), [(7, "did you mean 'num_frames'?")]),
        Case("unknown key of a job", changed("    seed: 2", "    sed: 2"), [(13, "unknown key 'sed'; did you mean 'seed'?")]),
        Case("key twice", changed("  steps: 2", "  steps: 2\n  steps: 3"), [(8, "given twice: steps")]),
        Case("word for a number", changed("steps: 2", "steps: fifty"), [(8, "defaults.steps: found 'fifty', expected an integer from 1")]),
        Case("quoted number", changed("steps: 2", "steps: \"2\""), [(8, "found the text \"2\", expected an integer from 1 to 100000; remove the quotes")]),
        Case("exponent", changed("seed: 1", "seed: 1e3"), [(11, "one.seed: found '1e3'")]),
        Case("octal", changed("seed: 1", "seed: 016"), [(11, "octal")]),
        Case("hexadecimal", changed("seed: 1", "seed: 0x10"), [(11, "write it in decimal digits")]),
        Case("underscore", changed("seed: 1", "seed: 1_000"), [(11, "write it in decimal digits")]),
        Case("sexagesimal", changed("steps: 2", "steps: 1:30"), [(8, "found '1:30'")]),
        Case("fraction", changed("steps: 2", "steps: 2.5"), [(8, "found '2.5'")]),
        Case("negative seed", changed("seed: 1", "seed: -1"), [(11, "expected an integer of at least 0")]),
        Case("seed above 64 bits", changed("seed: 1", "seed: 18446744073709551616"), [(11, "expected an integer")]),
        Case("nothing", changed("steps: 2", "steps:"), [(8, "found nothing")]),
        Case("not a number", changed("steps: 2", "guidance_scale: .nan"), [(8, "found '.nan', expected a finite number")]),
        Case("infinity", changed("steps: 2", "guidance_scale: .inf"), [(8, "found '.inf'")]),
        Case("decimal comma", changed("steps: 2", "guidance_scale: 5,0"), [(8, "write a point, not a comma")]),
        Case("no for false", changed("steps: 2", "metadata: no"), [(8, "expected true or false; that word")]),
        Case("boolean as text", changed("model: model", "model: yes"), [(4, "put it in quotes")]),
        Case("number as a name", changed("name: one", "name: 123"), [(10, "put it in quotes")]),
        Case("name with a slash", changed("name: one", "name: a/b"), [(10, "expected letters, digits")]),
        Case("job without a name", changed("  - name: two\n    seed: 2", "  - seed: 2"), [(12, "jobs[1].name: missing")]),
        Case("name twice", changed("name: two", "name: one"), [(12, "'one' is the name of another job, on line 10")]),
        Case("list for a mapping", changed("defaults:\n", "defaults: []\nlimits:\n"), [(3, "defaults: found a list"), (5, "limits: unknown key 'model'"), (6, ""), (7, ""), (8, ""), (9, "")]),
        Case("no jobs", "version: 1\noutput: a.mp4\n", [(1, "there is nothing to do")]),
        Case("empty list of jobs", "version: 1\njobs: []\n", [(2, "the list is empty")]),
        Case("empty axis", good + "matrix:\n  seed: []\n", [(15, "the list is empty")]),
        Case("axis that is no setting", good + "matrix:\n  seeds: [1, 2]\n", [(15, "'seeds' is no setting; did you mean 'seed'?")]),
        Case("all excluded", good + "matrix:\n  steps: [2]\n  exclude:\n    - {steps: 2}\n", [(15, "every combination is excluded")]),
        Case("explosion", good + "matrix:\n  steps: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n  num_frames: [1, 5, 9, 13, 17, 21, 25, 29, 33, 37]\n"
            + (0..<5).map { "  axis\($0):\n" + (0..<10).map { "    - {name: v\($0), flow_shift: \($0 + 1)}\n" }.joined() }.joined(),
            [(15, "more combinations than limits.max_jobs allows (10000)")]),
        Case("unknown need", changed("    seed: 2", "    needs: [oen]"), [(13, "no job named 'oen'; did you mean 'one'?")]),
        Case("cycle", changed("seed: 1", "needs: [two]").replacingOccurrences(of: "seed: 2", with: "needs: [one]"), [(10, "a cycle: one → two → one")]),
        Case("needs itself", changed("seed: 1", "needs: [one]"), [(10, "a cycle: one → one")]),
        Case("undefined variable", changed("model: model", "model: ${VDIT_NO_SUCH_VARIABLE}/model"), [(4, "the environment has no variable 'VDIT_NO_SUCH_VARIABLE'")]),
        Case("open variable", changed("model: model", "model: ${HOME"), [(4, "found '${' without '}'")]),
        Case("undefined alias", changed("seed: 1", "seed: *later"), [(11, "not YAML")], .badData),
        Case("anchor that holds itself", changed("jobs:\n", "jobs: &all\n") + "  - *all\n", [(14, "not YAML")], .badData),
        Case("alias bomb as values", bomb + "version: 1\noutput: a.mkv\njobs: *h\n", [(1, "unknown key 'a'"), (2, ""), (3, ""), (4, ""), (5, ""), (6, ""), (7, "")] + Array(repeating: (7, "found a list"), count: 9) + [(8, "")]),
        Case("alias bomb as a key", bomb + "? *h\n: 1\n", [(9, "keys must be plain names")]),
        Case("alias bomb of merges", mergeBomb + good, [(1, "unknown key 'm0'"), (1, "more than 100000 values")] + (2...9).map { ($0, "") }),
        Case("unknown method", changed("steps: 2", "sparse: radail"), [(8, "did you mean 'radial'?")]),
        Case("size", changed("size: 32x32", "size: 32"), [(6, "put it in quotes")]),
        Case("size and width", changed("size: 32x32", "size: 32x32\n  width: 32"), [(7, "the width is given twice")]),
        Case("memory", good + "limits: {memory: lots}\n", [(14, "expected a size such as 20G")]),
        Case("lease", good + "limits: {lease: 0}\n", [(14, "expected 1 to 86400 seconds")]),
        Case("time of Slurm", good + "slurm: {time: soon}\n", [(14, "slurm.time: found 'soon'")]),
        Case("injection into the script", good + "slurm: {partition: \"a b; rm -rf /\"}\n", [(14, "slurm.partition: found")]),
        Case("option of Slurm", good + "slurm: {extra: [exclusive]}\n", [(14, "expected an option such as --exclusive")]),
        Case("comparison of an unknown job", compared("compare: tow, reference: one"), [(14, "q.compare: no job named 'tow'; did you mean 'two'?")]),
        Case("file that is no list", compared("compare: a.mkv, reference: one"), [(14, "q.compare: no job named 'a.mkv'; files are given as a list")]),
        Case("no reference", compared("compare: two"), [(14, "q.reference: missing; say which renders of 'two'")]),
        Case("unknown reference", compared("compare: two, reference: oen"), [(14, "q.reference: no job named 'oen'; did you mean 'one'?")]),
        Case("reference that is the compared job", compared("compare: two, reference: two"), [(14, "'two' is the job that is compared")]),
        Case("reference in a list", compared("compare: two, reference: [one]"), [(14, "q.reference: found a list, expected axis values"), ]),
        Case("empty reference", compared("compare: two, reference: {}"), [(14, "q.reference: is empty")]),
        Case("reference on no axis", compared("compare: two, reference: {stesp: 1}") + "matrix: {steps: [1, 2]}\n", [(14, "'two' has no axis 'stesp'; did you mean 'steps'?")]),
        Case("value that no render has", compared("compare: two, reference: {steps: 3}") + "matrix: {steps: [1, 2]}\n", [(14, "'two' has no render with steps '3'")]),
        Case("reference that picks none", compared("compare: two, reference: {steps: 1}") + "matrix: {steps: [1, 2], num_frames: [1, 5], exclude: [{steps: 1, num_frames: 5}]}\n",
            [(14, "q.reference: no reference goes with two/2/5")]),
        Case("reference that picks several", compared("compare: two, reference: one").replacingOccurrences(of: "    seed: 1", with: "    matrix: {seed: [1, 2]}"),
            [(14, "q.reference: several references go with two: one/1, one/2")]),
        Case("nothing but references", compared("compare: two, reference: {steps: 1}") + "matrix: {steps: [1]}\n", [(14, "every render of 'two' is a reference")]),
        Case("comparison of a comparison", compared("compare: two, reference: one") + "  - {name: r, compare: q, reference: one, output: r.json}\n", [(15, "'q' is a comparison; only renders are compared")]),
        Case("render that needs what compares it", compared("compare: two, reference: one").replacingOccurrences(of: "seed: 1", with: "needs: [q]"), [(10, "a cycle: one → q → one")]),
        Case("settings of a render in a comparison", compared("compare: two, reference: one, seed: 3"), [(14, "q.seed: belongs to a render; a comparison has name, compare,")]),
        Case("axes of a comparison", compared("compare: two, reference: one, matrix: {seed: [1]}"), [(14, "q.matrix: belongs to a render")]),
        Case("keys of a comparison in a render", changed("    seed: 2", "    align: true"), [(13, "two.align: belongs to a comparison; this job has no 'compare'")]),
        Case("one file to compare", compared("compare: [a.mkv]"), [(14, "expected a reference and at least one candidate")]),
        Case("reference beside files", compared("compare: [a.mkv, b.mkv], reference: one"), [(14, "the first file of 'compare' is the reference")]),
        Case("limit that is no number", compared("compare: two, reference: one, min_psnr: .nan"), [(14, "q.min_psnr: found '.nan', expected a finite number")]),
        Case("align in words", compared("compare: two, reference: one, align: yes"), [(14, "q.align: found 'yes', expected true or false")]),
        Case("setting that is misspelt in a comparison", compared("compare: two, refrence: one"), [(14, "q.reference: missing"), (14, "unknown key 'refrence'; did you mean 'reference'?")]),
        Case("table", good + "table: table.txt\n", [(14, "expected a name that ends in .md or .csv")]),
        Case("several at once", changed("size: 32x32", "siez: 32x32").replacingOccurrences(of: "steps: 2", with: "steps: x")
            .replacingOccurrences(of: "seed: 1", with: "seed: 01"),
            [(6, "unknown key 'siez'; did you mean 'size'?"), (8, "defaults.steps"), (11, "one.seed")]),
        Case("override", good, [(0, "defaults.steps: found 'x'")], set: ["defaults.steps=x"]),
        Case("override of an unknown key", good, [(0, "unknown key 'stesp'; did you mean 'steps'?")], set: ["defaults.stesp=2"]),
    ]

    /// 9^8 values once followed.
    static let bomb: String = {
        var text = "a: &a [x, x, x, x, x, x, x, x, x]\n"
        for (previous, next) in zip("abcdefg", "bcdefgh") {
            text += "\(next): &\(next) [" + Array(repeating: "*\(previous)", count: 9).joined(separator: ", ") + "]\n"
        }
        return text
    }()

    /// Each level merges the one before nine times.
    static let mergeBomb: String = {
        var text = "m0: &m0 {retries: 1}\n"
        for level in 1...8 {
            let sources = Array(repeating: "*m\(level - 1)", count: 9).joined(separator: ", ")
            text += "m\(level): &m\(level) {<<: [\(sources)]}\n"
        }
        return text + "limits: *m8\n"
    }()

    @Test(arguments: cases)
    func everyMistakeIsNamedWithItsLine(_ entry: Case) throws {
        let folder = try TemporaryDirectory()
        let path = try folder.write(entry.text, "pipeline.yaml")
        let error = try #require(throws: BatchError.self) {
            _ = try PipelineFile(path: path, overrides: entry.overrides, environment: ["HOME": "/"]).expand()
        }
        guard case .pipeline(let file, let problems, let kind) = error else {
            Issue.record("\(error)")
            return
        }
        #expect(file == path && kind == entry.kind)
        #expect(problems.map(\.mark.line) == entry.problems.map(\.0), "\(error)")
        for (problem, expected) in zip(problems, entry.problems) {
            #expect(problem.text.contains(expected.1) || expected.1.isEmpty, "\(problem.text)")
        }
    }

    @Test func theGoodFileIsGood() throws {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
        let path = try folder.write(Self.good, "pipeline.yaml")
        #expect(try BatchPlan(PipelineFile(path: path)).jobs.map(\.id) == ["one", "two"])
    }

    static let encodings: [[UInt8]] = {
        var marked: [UInt8] = [0xEF, 0xBB, 0xBF]
        marked.append(contentsOf: Array(good.utf8))
        let windows = Array(good.replacingOccurrences(of: "\n", with: "\r\n").utf8)
        var little: [UInt8] = [0xFF, 0xFE]
        var big: [UInt8] = [0xFE, 0xFF]
        for unit in good.utf16 {
            let (low, high) = (UInt8(unit & 255), UInt8(unit >> 8))
            little += [low, high]
            big += [high, low]
        }
        return [marked, windows, little, big]
    }()

    @Test(arguments: encodings)
    func byteOrderMarksAndLineEndsOfOtherSystemsAreRead(_ bytes: [UInt8]) throws {
        let folder = try TemporaryDirectory()
        let path = try folder.write(bytes, "pipeline.yaml")
        #expect(try PipelineFile(path: path).expand().map(\.id) == ["one", "two"])
    }

    static let noTexts: [[UInt8]] = [
        [0xC3, 0x28, 0x0A], Array("version: 1\0".utf8), Array(repeating: 0x20, count: (1 << 20) + 1),
    ]

    @Test(arguments: noTexts)
    func whatIsNoTextIsRefused(_ bytes: [UInt8]) throws {
        let folder = try TemporaryDirectory()
        let path = try folder.write(bytes, "pipeline.yaml")
        let error = try #require(throws: (any Error).self) { _ = try PipelineFile(path: path) }
        #expect((error as? any Failure)?.kind == .badData, "\(error)")
    }

    @Test func aMissingFileOrAFolderIsNamed() throws {
        let folder = try TemporaryDirectory()
        #expect(try #require(throws: FileError.self) { _ = try PipelineFile(path: folder.path("no.yaml")) }.kind == .missingInput)
        #expect(try #require(throws: FileError.self) { _ = try PipelineFile(path: folder.path) }.kind == .missingInput)
    }

    @Test(arguments: ["", "=1", "a..b=1", "jobs.9.seed=1", "jobs.three.seed=1", "defaults.seed=[1"])
    func overridesWithoutAPlaceAreRefused(_ override: String) throws {
        let folder = try TemporaryDirectory()
        let path = try folder.write(Self.good, "pipeline.yaml")
        let error = try #require(throws: BatchError.self) { _ = try PipelineFile(path: path, overrides: [override]) }
        #expect(error.kind == .usage)
    }

    // What can only be told once models and prompts are opened.
    static let planned: [Case] = [
        Case("missing model", changed("model: model", "model: no-model"), [(4, "no-model")]),
        Case("missing prompt", changed("a.safetensors", "z.safetensors"), [(5, "z.safetensors")]),
        Case("no prompt", changed("  prompt_embedding: a.safetensors\n", ""), [(9, "one.prompt: missing"), (11, "two.prompt: missing")]),
        Case("no output", changed("output: out/{job}-{seed}.mkv\n", ""), [(9, "one.output: missing"), (11, "two.output: missing")]),
        Case("unknown placeholder", changed("{seed}", "{sede}"), [(2, "no placeholder '{sede}' for this job; did you mean '{seed}'?")]),
        Case("brace without partner", changed("{seed}", "{seed"), [(2, "a brace without its partner")]),
        Case("two jobs, one output", changed("{job}-{seed}", "clip"), [(2, "two and one both write")]),
        Case("output over an input", changed("out/{job}-{seed}.mkv", "b-{seed}.safetensors"), [(2, "expected .mp4"), (2, "expected .mp4")]),
        Case("output over the pipeline", changed("seed: 2", "output: pipeline.yaml"), [(13, "expected .mp4")]),
        Case("size the model cannot make", changed("size: 32x32", "size: 40x32"), [(6, "a multiple of 16; use 32 or 48")]),
        Case("frames the model cannot make", changed("num_frames: 5", "num_frames: 6"), [(7, "4k+1; use 5 or 9")]),
        Case("quality out of range", changed("steps: 2", "crf: 60\n  codec: h264"), [(8, "crf")]),
        Case("option of another method", changed("steps: 2", "sparse: radial\n  sparse_options: {topk: 3}"), [(9, "option")]),
        Case("density of dense", changed("steps: 2", "density: 0.5"), [(8, "density")]),
        Case("latents of a job that is not needed", changed("seed: 1", "save_latents: x.safetensors")
            .replacingOccurrences(of: "seed: 2", with: "latents: x.safetensors"), [(13, "x.safetensors")]),
    ]

    static func comparing(_ keys: String) -> String { good + "  - {name: q, compare: two, reference: one, \(keys)}\n" }

    // Comparisons, as far as a plan can tell.
    static let plannedComparisons: [Case] = [
        Case("no output", good + "  - {name: q, compare: two, reference: one}\n", [(14, "q.output: missing; where the numbers go as JSON")]),
        Case("output that is no JSON", comparing("output: q.txt"), [(14, "q.output: found"), ]),
        Case("csv of another name", comparing("output: q.json, csv: q.tsv"), [(14, "expected a name that ends in .csv")]),
        Case("unknown placeholder", comparing("output: \"{sede}.json\""), [(14, "no placeholder '{sede}' for this job; did you mean '{seed}'?")]),
        Case("other size", comparing("output: q.json").replacingOccurrences(of: "seed: 1", with: "size: 16x32"),
            [(14, "q.compare: size of two: found 32x32, expected 16x32 as one")]),
        Case("other length", comparing("output: q.json").replacingOccurrences(of: "seed: 1", with: "num_frames: 9"),
            [(14, "q.compare: frames of two: found 5, expected 9 as one")]),
        Case("other rate", comparing("output: q.json").replacingOccurrences(of: "seed: 1", with: "fps: 8"),
            [(14, "q.compare: frame rate of two: found 16, expected 8 as one")]),
        Case("file that is not there", good + "  - {name: q, compare: [out/one-1.mkv, out/three.mkv], output: q.json}\n",
            [(14, "out/three.mkv: no such file, and no job of this batch makes it")]),
        Case("file that is no clip", good + "  - {name: q, compare: [out/one-1.mkv, a.safetensors], output: q.json}\n",
            [(14, "expected one tensor of frames")]),
        Case("one output for several", comparing("output: q.json").replacingOccurrences(of: "seed: 2", with: "matrix: {seed: [2, 3]}"),
            [(14, "q/3 and q/2 both write")]),
        Case("output over a render's record", comparing("output: out/two-2.mkv.json"), [(14, "q and two both write")]),
        Case("cycle over files", changed("seed: 1", "needs: [q]") + "  - {name: q, compare: [out/one-0.mkv, out/two-2.mkv], output: q.json}\n",
            [(10, "a cycle: one → q → one")]),
        Case("table that a job writes", comparing("output: q.json, csv: q.csv") + "table: q.csv\n", [(15, "table: q writes")]),
    ]

    @Test(arguments: planned + plannedComparisons)
    func whatAModelRefusesIsNamedWithItsLine(_ entry: Case) throws {
        let folder = try TemporaryDirectory()
        try TinyModel.write(to: folder)
        let path = try folder.write(entry.text, "pipeline.yaml")
        let error = try #require(throws: BatchError.self) { _ = try BatchPlan(PipelineFile(path: path)) }
        guard case .pipeline(_, let problems, _) = error else {
            Issue.record("\(error)")
            return
        }
        #expect(problems.map(\.mark.line) == entry.problems.map(\.0), "\(error)")
        for (problem, expected) in zip(problems, entry.problems) {
            #expect(problem.text.contains(expected.1), "\(problem.text)")
        }
        #expect(!FileManager.default.fileExists(atPath: folder.path("out")), "checking creates nothing")
    }
}
