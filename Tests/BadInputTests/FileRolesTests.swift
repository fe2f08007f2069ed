import Foundation
import TestSupport
import Testing
import VDiT

/// No command makes a file over one that it reads or makes, however the names are spelled.
struct FileRolesTests {
    private let folder: TemporaryDirectory

    init() throws {
        folder = try TemporaryDirectory()
        try folder.write("precious", "a")
        try folder.write("weights", "model/vae/weights")
        try FileManager.default.createSymbolicLink(atPath: folder.path("linked"), withDestinationPath: folder.path)
        try FileManager.default.createSymbolicLink(atPath: folder.path("link"), withDestinationPath: "a")
        try FileManager.default.linkItem(atPath: folder.path("a"), toPath: folder.path("hard"))
    }

    private func refusal(_ read: String, _ made: String) -> FileError? {
        do throws(FileError) {
            try FileRoles(reads: ["input": read], makes: ["output": made]).check()
            return nil
        } catch {
            return error
        }
    }

    @Test(arguments: ["a", "./a", "linked/a", "linked/./linked/a", "link", "hard", "model/../a"])
    func anInputIsFoundByAnyName(_ name: String) throws {
        let error = try #require(refusal(folder.path("a"), folder.path(name)))
        #expect(error.kind == .usage && "\(error)".contains("the output would replace the input"), "\(error)")
    }

    @Test(arguments: ["model/vae/weights", "linked/model/vae/weights", "model", "linked/model"])
    func aFolderThatIsReadIsReadWhole(_ name: String) throws {
        #expect(refusal(folder.path("model"), folder.path(name)) != nil)
    }

    @Test(arguments: ["b", "linked/b", "model/a", "model/vae/a", "nowhere/a"])
    func anotherFileIsAnother(_ name: String) { #expect(refusal(folder.path("a"), folder.path(name)) == nil) }

    @Test(arguments: [
        ("new", "linked/new"), ("nowhere/new", "linked/nowhere/new"), ("nowhere/new", "nowhere/./new"),
        ("hard", "link"),
    ])
    func twoOutputsInOnePlaceAreFoundBeforeEitherIsThere(_ one: String, _ other: String) throws {
        let roles = FileRoles(makes: ["video": folder.path(one), "record": folder.path(other)])
        let error = try #require(throws: FileError.self) { try roles.check() }
        #expect("\(error)".contains("the record would be the same file as the video (\(folder.path(one)))"), "\(error)")
    }

    @Test(arguments: [
        ("f12.png", true), ("linked/f00012.png", true), ("f.png", false), ("f1x.png", false), ("g12.png", false),
    ])
    func aPatternIsEveryFileOfItsNumbers(_ name: String, _ meets: Bool) {
        var roles = FileRoles(makes: ["contact sheet": folder.path(name)])
        roles.make(folder.path("f%05d.png"), as: "video", isNumbered: true)
        #expect(((try? roles.check()) == nil) == meets)
    }

    @Test func anEmptyPathIsNoPlace() throws {
        #expect(refusal("", folder.path("b"))?.kind == .usage)
        #expect(refusal(folder.path("a"), "").map { "\($0)" } == "output: the path is empty")
    }
}
