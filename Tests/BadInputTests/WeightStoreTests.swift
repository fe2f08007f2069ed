import Foundation
import TestSupport
import Testing
import VDiT

/// Directories of weights: found where people have them, refused with the name of what is wrong.
@Suite struct WeightStoreTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    func save(_ names: [String], _ file: String, shape: [Int] = [2], dtype: DType = .f32) throws {
        let tensors = Dictionary(uniqueKeysWithValues: names.map { ($0, Tensor(dtype, shape)) })
        try directory.write(SafetensorsWriter.bytes(tensors), file)
    }

    func saveIndex(_ map: [(String, String)], _ name: String = "diffusion_pytorch_model.safetensors.index.json") throws {
        let entries = map.map { "\"\($0.0)\": \"\($0.1)\"" }.joined(separator: ",\n")
        try directory.write("{\"metadata\": {\"total_size\": 1e99}, \"weight_map\": {\(entries)}}", name)
    }

    func expectFailure(
        _ kind: FailureKind, _ parts: String..., path: String? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        do throws(FileError) {
            _ = try WeightStore(path ?? directory.path)
            Issue.record("was accepted", sourceLocation: sourceLocation)
        } catch {
            #expect(error.kind == kind, "\(error)", sourceLocation: sourceLocation)
            for part in parts {
                #expect(error.description.contains(part), "\(error)", sourceLocation: sourceLocation)
            }
            #expect(!error.description.contains("\n"), sourceLocation: sourceLocation)
        }
    }

    @Test func theSampleModelIsReadFromItsShards() throws {
        let store = try WeightStore(Golden.sample("wan-mini/transformer"))
        #expect(store.files.count == 3)
        #expect(store.names.contains("blocks.0.attn1.norm_k.weight"))
        for name in store.names {
            let tensor = try store.tensor(name)
            #expect(tensor.shape == store.info(name)?.shape)
            #expect(tensor.firstNonFinite == nil, "\(name)")
            store.release(name)
        }
        try store.verifyUnchanged()
        let vae = try WeightStore(Golden.sample("wan-mini/vae"))
        #expect(vae.files.map(\.name) == ["diffusion_pytorch_model.safetensors"])
    }

    @Test func shardsAreOneStore() throws {
        try save(["a", "b"], "m-1.safetensors")
        try save(["c"], "m-2.safetensors", dtype: .bf16)
        try saveIndex([("a", "m-1.safetensors"), ("b", "m-1.safetensors"), ("c", "m-2.safetensors")])
        for path in [directory.path, directory.path("diffusion_pytorch_model.safetensors.index.json")] {
            let store = try WeightStore(path)
            #expect(store.names == ["a", "b", "c"])
            #expect(try store.tensor("c").dtype == .bf16)
            #expect(throws: TensorError.self) { try store.tensor("d") }
        }
        #expect(try WeightStore(directory.path("m-2.safetensors")).names == ["c"])
    }

    @Test func faultyIndicesAreRefused() throws {
        try save(["a"], "m-1.safetensors")
        try save(["b"], "m-2.safetensors")
        try saveIndex([("a", "m-1.safetensors"), ("b", "m-3.safetensors")])
        expectFailure(.missingInput, "m-3.safetensors")
        try saveIndex([("a", "m-1.safetensors"), ("b", "m-1.safetensors")])
        expectFailure(.badData, "weight_map.b", "m-1.safetensors")
        try saveIndex([("a", "m-1.safetensors"), ("b", "m-2.safetensors"), ("b", "m-2.safetensors")])
        expectFailure(.badData, "weight_map.b", "two entries")
        try save(["a", "b"], "m-2.safetensors")
        try saveIndex([("a", "m-1.safetensors"), ("b", "m-2.safetensors")])
        expectFailure(.badData, "tensor a", "m-1.safetensors")
        for text in [
            "", "{", "[]", "{}", "{\"weight_map\": null}", "{\"weight_map\": {\"a\": null}}",
            "{\"weight_map\": {}, \"weight_map\": {}}", "{\"weight_map\": {\"a\": \"\"}}",
            "{\"weight_map\": {\"a\": \"m-1.safetensors\"}} x",
            "{\"x\": \(String(repeating: "[", count: 1_000_000))",
            "{\"x\": [01], \"weight_map\": {\"a\": \"m-1.safetensors\"}}",
            "{\"x\": [1,], \"weight_map\": {\"a\": \"m-1.safetensors\"}}",
        ] {
            try directory.write(text, "diffusion_pytorch_model.safetensors.index.json")
            expectFailure(.badData, "index.json")
        }
    }

    @Test func filesOutsideTheDirectoryAreRefused() throws {
        try save(["a"], "outside.safetensors")
        try save(["a"], "model/inside.safetensors")
        for shard in [
            "../outside.safetensors", "./inside.safetensors", "x/../inside.safetensors", "/etc/passwd",
            directory.path("outside.safetensors"), "x//inside.safetensors", "inside.safetensors/",
        ] {
            try saveIndex([("a", shard)], "model/m.safetensors.index.json")
            expectFailure(.badData, "inside the index's directory", path: directory.path("model"))
        }
        #expect(symlink("../outside.safetensors", directory.path("model/link.safetensors")) == 0)
        try saveIndex([("a", "link.safetensors")], "model/m.safetensors.index.json")
        expectFailure(.badData, "symbolic link", "outside.safetensors", path: directory.path("model"))
        #expect(symlink("inside.safetensors", directory.path("model/fine.safetensors")) == 0)
        try saveIndex([("a", "fine.safetensors")], "model/m.safetensors.index.json")
        #expect(try WeightStore(directory.path("model")).names == ["a"])
    }

    @Test func theLinksOfTheHuggingFaceCacheAreFollowed() throws {
        try save(["a"], "models--x/blobs/0123")
        try saveIndex([("a", "m-1.safetensors")], "models--x/snapshots/abc/vae/m.safetensors.index.json")
        let folder = directory.path("models--x/snapshots/abc/vae")
        #expect(symlink("../../../blobs/0123", folder + "/m-1.safetensors") == 0)
        #expect(try WeightStore(folder).names == ["a"])
    }

    @Test func otherFormatsAreRefusedWithAdvice() throws {
        try directory.write("x", "config.json")
        expectFailure(.missingInput, "diffusion_pytorch_model.safetensors")
        try directory.write([0x80, 2, 0x7d], "pytorch_model.bin")
        expectFailure(.badData, "pytorch_model.bin", "save_pretrained")
        let torch = Array("PK\u{3}\u{4}".utf8) + [UInt8](repeating: 1, count: 100)
        let starts: [(String, [UInt8])] = [
            ("Git LFS", Array("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n".utf8)),
            ("HTML", Array("\n<!DOCTYPE html><html><body>404</body></html>".utf8)),
            ("JSON", Array("{\"error\":\"Repository not found\"}".utf8)), ("zip", torch),
            ("pickle", [0x80, 2, 0x7d] + [UInt8](repeating: 0x71, count: 50)),
            ("version", Array("GGUF".utf8) + [9, 0, 0, 0] + [UInt8](repeating: 0, count: 40)),
        ]
        for (name, bytes) in starts {
            try directory.write(bytes, "model.safetensors")
            expectFailure(.badData, name, "model.safetensors")
            let path = try directory.write(bytes, "model.pth")
            expectFailure(.badData, name, path: path)
        }
    }

    @Test func severalCandidatesAreListed() throws {
        try save(["a"], "model.fp16.safetensors")
        try save(["a"], "model.safetensors")
        expectFailure(.badData, "model.fp16.safetensors", "model.safetensors")
        try save(["b"], "diffusion_pytorch_model.safetensors")
        #expect(try WeightStore(directory.path).names == ["b"])
    }

    @Test func pathsThatAreNoFilesAreRefused() throws {
        expectFailure(.missingInput, path: directory.path("absent"))
        expectFailure(.missingInput, path: "")
        expectFailure(.missingInput, path: directory.path("nul\0x"))
        #expect(mkfifo(directory.path("fifo.safetensors"), 0o600) == 0)
        expectFailure(.missingInput, "FIFO", path: directory.path("fifo.safetensors"))
        expectFailure(.missingInput, "device", path: "/dev/zero")
        expectFailure(.badData, path: "/proc/self/status")
        #expect(symlink("loop", directory.path("loop")) == 0)
        expectFailure(.missingInput, "loop", path: directory.path("loop"))
        expectFailure(.missingInput, "too long", path: directory.path(String(repeating: "x", count: 300)))
        let folder = directory.path
        #expect(throws: FileError.self) { try SafetensorsReader(folder) }
    }

    @Test(.enabled(if: getuid() != 0, "root may read everything"))
    func anUnreadableFileIsAPermissionError() throws {
        try save(["a"], "m.safetensors")
        chmod(directory.path("m.safetensors"), 0)
        expectFailure(.permission, "m.safetensors")
    }

    @Test func aFileChangedWhileInUseIsNoticed() throws {
        try save(["a"], "m.safetensors")
        let path = directory.path("m.safetensors")
        for change in [
            { try Data([1]).append(to: path) },
            { try self.directory.write(SafetensorsWriter.bytes(["a": Tensor([Float(1), 2])]), "m.safetensors") },
            { try FileManager.default.removeItem(atPath: path) },
        ] as [() throws -> Void] {
            try save(["a"], "m.safetensors")
            let store = try WeightStore(path)
            try store.verifyUnchanged()
            try change()
            #expect(throws: FileError.self) { try store.verifyUnchanged() }
        }
    }

    @Test func allProblemsAreListedTogether() throws {
        try save((0..<12).map { "extra.\($0)" } + ["good"], "m-1.safetensors")
        try save(["misshapen"], "m-2.safetensors", shape: [3, 2])
        try save(["whole"], "m-3.safetensors", dtype: .i32)
        try saveIndex([
            ("good", "m-1.safetensors"), ("misshapen", "m-2.safetensors"), ("whole", "m-3.safetensors"),
        ])
        let store = try WeightStore(directory.path)
        do throws(TensorError) {
            try store.check([
                ("good", [2]), ("misshapen", [2, 3]), ("whole", [2]), ("lost.weight", [1]), ("lost.bias", [1]),
            ])
            Issue.record("was accepted")
        } catch {
            guard case .weights(_, let problems) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(problems.missing == ["lost.weight", "lost.bias"])
            #expect(problems.unexpected.count == 12)
            #expect(problems.misshapen == ["misshapen [3, 2] instead of [2, 3]"])
            #expect(problems.notFloatingPoint == ["whole I32"])
            for part in ["2 tensors missing: lost.weight, lost.bias", "12 tensors unexpected", "and 2 more"] {
                #expect(error.description.contains(part), "\(error)")
            }
            #expect(!error.description.contains("\n"))
        }
        try WeightStore(directory.path("m-2.safetensors")).check([("misshapen", [3, 2])])
    }

    @Test(arguments: [DType.f32, .f64, .f16, .bf16], [1, 15, 4095, 4096, 4097, 9000])
    func theFirstNonFiniteValueIsFound(dtype: DType, count: Int) {
        for value in [Float.nan, -.nan, .infinity, -.infinity] {
            for place in Set([0, count / 2, count - 1]) {
                var values = [Float](repeating: 65504, count: count)
                values[place] = value
                values[count - 1] = place == count - 1 ? value : .nan
                let tensor = Tensor(values).converted(to: dtype)
                #expect(tensor.firstNonFinite == place)
            }
        }
        #expect(Tensor([Float](repeating: 65504, count: count)).converted(to: dtype).firstNonFinite == nil)
        #expect(Tensor(.i32, [3]).firstNonFinite == nil)
        #expect(Tensor(.f32, [0]).firstNonFinite == nil)
    }
}

extension Data {
    fileprivate func append(to path: String) throws {
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try file.seekToEnd()
        try file.write(contentsOf: self)
        try file.close()
    }
}
