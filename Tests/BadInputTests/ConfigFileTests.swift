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
        do throws(TensorError) {
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
        ("{\"layers\": 1, \"layers\": 2}", "layers: found two entries"), ("{\"a\": NaN}", "a JSON value"),
        ("{} {}", "the end"), ("{\"a\": \(String(repeating: "[", count: 5000))", "nesting"),
    ])
    func whatIsNoJSONObjectIsRefused(text: String, part: String) throws {
        expectFailure(try directory.write(text, "config.json"), .badData, part)
    }

    @Test func bytesThatAreNotUTF8AreRefused() throws {
        let path = try directory.write([0xff, 0xfe, 0x7b, 0, 0x7d, 0], "config.json")
        expectFailure(path, .badData, "UTF-8")
    }
}
