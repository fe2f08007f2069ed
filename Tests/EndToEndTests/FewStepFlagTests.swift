import TestSupport
import Testing
import VDiT

/// Few-step sampling and adapters from the command line to the record and back.
@Suite struct FewStepFlagTests {
    static let model = [
        "--model", Golden.sample("wan-mini"), "--prompt-embedding",
        Golden.sample("prompts/01-red-ball-right.safetensors"), "--size", "64x64", "--num-frames", "5", "--seed", "3",
    ]
    static let adapter = Golden.sample("wan-mini/lora/4-step.safetensors")

    @Test func theListOfARunIsRecordedAndMadeAgainFromTheRecord() throws {
        let folder = try TemporaryDirectory()
        let first = folder.path("a.mkv")
        let run = try CommandRun.run(
            ["render"] + Self.model + ["--codec", "ffv1", "--few-step", "fastwan-3", "--lora", "\(Self.adapter)=0.5", "-o", first])
        #expect(run.status == 0, "\(run.errors)")
        let record = try RunRecord(path: first + ".json")
        #expect(record.sampling?.steps == 3 && record.sampling?.guidanceScale == 1)
        #expect(record.lora?.count == 1 && record.lora?.first?.strength == 0.5)

        let second = folder.path("b.mkv")
        let again = try CommandRun.run(["render", "--from", first + ".json", "-o", second])
        #expect(again.status == 0, "\(again.errors)")
        #expect(try RunRecord(path: second + ".json").latentsSha256 == record.latentsSha256)

        let whole = folder.path("c.mkv")
        let plain = try CommandRun.run(
            ["render"] + Self.model + ["--codec", "ffv1", "--few-step", "fastwan-3", "--lora", Self.adapter, "-o", whole])
        #expect(plain.status == 0, "\(plain.errors)")
        #expect(try RunRecord(path: whole + ".json").latentsSha256 != record.latentsSha256)
    }

    @Test(arguments: [
        (["--sigmas", "1,2"], "sigmas: found 2"), (["--sigmas", "nan"], "sigmas: found nan"),
        (["--sigmas", "0.5,0.5"], "sigmas:"), (["--step-list", "5,7"], "that fall from step to step"),
        (["--sigmas", "1,0.5", "--steps", "3"], "steps: found 3, expected 2"),
        (["--few-step", "nope"], "lightx2v-4"), (["--lora", "none.safetensors"], "none.safetensors: no such file"),
        (["--lora", Golden.sample("prompts/empty.safetensors")], "a model's tensors, not an adapter's"),
    ])
    func whatCannotBeSampledOrMergedIsRefused(_ flags: [String], _ text: String) throws {
        let folder = try TemporaryDirectory()
        let run = try CommandRun.run(["render"] + Self.model + flags + ["-o", folder.path("a.mkv")])
        #expect(run.status != 0 && run.errors.contains(text), "\(run.errors)")
        #expect(folder.contents.isEmpty)
    }
}
