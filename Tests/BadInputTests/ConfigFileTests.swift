import Foundation
import TestSupport
import Testing
import VDiT

/// Configuration files that are no files, or not JSON, or say a thing twice.
@Suite struct ConfigFileTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    func expectFailure(
        _ path: String, _ kind: FailureKind, _ part: String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        do throws(FileError) {
            _ = try ConfigFile(path: path)
            Issue.record("was accepted", sourceLocation: sourceLocation)
        } catch {
            #expect(error.kind == kind, "\(error)", sourceLocation: sourceLocation)
            #expect(
                error.description.contains(path) && error.description.contains(part), "\(error)",
                sourceLocation: sourceLocation)
        }
    }

    @Test func whatIsNoFileIsRefused() throws {
        expectFailure(directory.path("config.json"), .missingInput, "no such file")
        expectFailure(directory.path, .missingInput, "is a directory")
        #expect(mkfifo(directory.path("fifo"), 0o600) == 0)
        expectFailure(directory.path("fifo"), .missingInput, "FIFO")
    }

    @Test(arguments: [
        ("", "an object"), ("[]", "an object"), ("{\"a\": 1,}", "byte 8"), ("{\"a\": 01}", "zeros"),
        ("{\"layers\": 1, \"layers\": 2}", "layers: found two entries"), ("{\"a\": Nan}", "a JSON value"), ("{\"a\": -Inf}", "a JSON value"), ("{NaN: 1}", "double quotes"),
        ("{} {}", "the end"), ("{\"a\": \(String(repeating: "[", count: 5000))", "nesting"),
    ])
    func whatIsNoJSONObjectIsRefused(text: String, part: String) throws {
        expectFailure(try directory.write(text, "config.json"), .badData, part)
    }

    /// Python's json module writes them, and diffusers has such defaults.
    @Test(arguments: ["NaN", "Infinity", "-Infinity", "[1, NaN]", "{\"b\": [-Infinity]}"])
    func numbersThatAreNoneMayStandWhereNobodyLooks(value: String) throws {
        let file = try ConfigFile(
            path: directory.write("{\"a\": \(value), \"b\": [1, 2], \"c\": \"NaN\"}", "config.json"))
        #expect(try file.numbersIfPresent("b") == [1, 2] && file.stringIfPresent("c") == "NaN")
        let found = value.firstMatch(of: /-?[NI]\w+/).map { String($0.output) } ?? "?"
        func expectRefusal(_ read: () throws -> Void) {
            let error = #expect(throws: FileError.self, performing: read)
            #expect(error?.kind == .badData)
            #expect(error?.description.contains("config.json: a: found \(found), expected") == true, "\(error as Any)")
        }
        expectRefusal { _ = try file.numberIfPresent("a", -1...1) }
        expectRefusal { _ = try file.integerIfPresent("a", 0...1) }
        expectRefusal { _ = try file.numbersIfPresent("a") }
        expectRefusal { _ = try file.boolIfPresent("a") }
        expectRefusal { _ = try file.stringIfPresent("a") }
    }

    @Test func bytesThatAreNotUTF8AreRefused() throws {
        let path = try directory.write([0xff, 0xfe, 0x7b, 0, 0x7d, 0], "config.json")
        expectFailure(path, .badData, "UTF-8")
    }
}
