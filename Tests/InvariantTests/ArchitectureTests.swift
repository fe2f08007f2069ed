import Foundation
import Testing
import TestSupport

/// The module table of docs/architecture.md is what the sources do.
@Suite struct ArchitectureTests {
    static let system: Set<String> = ["Foundation", "Glibc", "Synchronization", "Dispatch", "Swift"]
    static let allowed: [String: Set<String>] = {
        let tensor: Set<String> = ["VditFiles", "VditTensor"]
        let pipeline = tensor.union(["VditAttention", "VditModels", "VditText", "VditMedia"])
        return [
            "VditFiles": [],
            "VditTensor": ["VditFiles", "CVditKernels", "COneDNN"],
            "VditAttention": tensor,
            "VditModels": tensor.union(["VditAttention"]),
            "VditText": tensor,
            "VditMedia": tensor.union(["CFFmpeg", "CPNG"]),
            "VditPipeline": pipeline,
            "VditBatch": pipeline.union(["VditPipeline", "GRDB", "Yams"]),
            "VDiT": pipeline.union(["VditPipeline", "VditBatch"]),
            "vdit": ["VDiT", "ArgumentParser"],
        ]
    }()

    @Test(arguments: allowed.keys.sorted())
    func modulesImportOnlyWhatTheirRowLists(_ module: String) throws {
        let folder = Golden.root.appendingPathComponent("Sources/\(module)")
        let files = try #require(FileManager.default.enumerator(at: folder, includingPropertiesForKeys: nil))
        var seen = 0
        for case let file as URL in files where file.pathExtension == "swift" {
            seen += 1
            for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
                let words = line.split(separator: " ")
                guard let position = words.firstIndex(of: "import"), position <= 1, words.count > position + 1,
                    position == 0 || words[0].hasPrefix("@") || words[0] == "public"
                else { continue }
                let name = String(words[position + 1])
                let isAllowed = Self.allowed[module]?.contains(name) == true || Self.system.contains(name)
                #expect(isAllowed, "\(file.lastPathComponent) imports \(name)")
                if module == "VditAttention" || module == "VditModels" {
                    #expect(name != "Foundation", "\(file.lastPathComponent) imports Foundation")
                }
            }
        }
        #expect(seen > 0)
    }

    /// A family is a folder and a row: who asks for one by its type would have to be changed for the next.
    @Test func noFileOutsideAFamilysFolderNamesItsTypes() throws {
        let sources = Golden.root.appendingPathComponent("Sources")
        let files = try #require(FileManager.default.enumerator(at: sources, includingPropertiesForKeys: nil))
        for case let file as URL in files where file.pathExtension == "swift" {
            // Text in quotation marks and comments may speak of models.
            let code = try String(contentsOf: file, encoding: .utf8)
                .replacing(/\/\/.*/, with: "").replacing(/"(\\.|[^"\\\n])*"/, with: "")
            let named = code.matches(of: /\b(Wan|LTX|CogVideoX|HunyuanVideo|Mochi)[A-Z]\w*/)
                .filter { !file.path.contains("/VditModels/\($0.output.1)/") }.map { String($0.output.0) }
            #expect(named.isEmpty, "\(file.lastPathComponent) names \(named)")
        }
    }

    /// Foundation's own ideas of a path (`~`, a name of one letter, what is not UTF-8) have ended processes before.
    @Test func noPathGoesThroughFoundation() throws {
        let sources = Golden.root.appendingPathComponent("Sources")
        let files = try #require(FileManager.default.enumerator(at: sources, includingPropertiesForKeys: nil))
        for case let file as URL in files where file.pathExtension == "swift" {
            let code = try String(contentsOf: file, encoding: .utf8)
            let calls = code.matches(of: /FileManager|NSString|URL\(fileURLWithPath: [^"]/)
            #expect(calls.isEmpty, "\(file.lastPathComponent): \(calls.map { String($0.output) })")
        }
    }

    /// A path is text, and the system's own calls would take it as it is: see SystemCalls.swift.
    @Test func everyCallThatTakesAPathKnowsItsBytes() throws {
        let sources = Golden.root.appendingPathComponent("Sources")
        let ours = try String(contentsOf: sources.appendingPathComponent("VditFiles/SystemCalls.swift"), encoding: .utf8)
        let known = Set(ours.matches(of: /func (\w+)/).map { String($0.output.1) })
        let others: Set = [
            "chdir", "chmod", "chown", "creat", "glob", "mkdtemp", "mkstemp", "openat", "statfs", "symlink", "truncate",
            "utimensat",
        ]
        let files = try #require(FileManager.default.enumerator(at: sources, includingPropertiesForKeys: nil))
        for case let file as URL in files where file.pathExtension == "swift" && !file.path.hasSuffix("SystemCalls.swift") {
            let code = try String(contentsOf: file, encoding: .utf8)
            let calls = code.matches(of: /(Glibc\.|[^.\w])([a-z]+)\((?!\))/).map { (String($0.output.1), String($0.output.2)) }
            let seesOurs = code.contains("import VDiT\n") || code.contains("import VditFiles\n") || file.path.contains("/VditFiles/")
            for (place, call) in calls where known.contains(call) {
                #expect(place != "Glibc." && seesOurs, "\(file.lastPathComponent): \(call)")
            }
            let strange = calls.filter { others.contains($0.1) }
            #expect(strange.isEmpty, "\(file.lastPathComponent): \(strange)")
        }
    }
}
