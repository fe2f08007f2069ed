import Testing
import VDiT

/// Paths as text.
@Suite struct FilePathTests {
    @Test(arguments: [
        ("a/b.c", "a", "b.c", "b"), ("a", ".", "a", "a"), ("a/", ".", "a", "a"), ("/a", "/", "a", "a"),
        ("../b.c.d", "..", "b.c.d", "b.c"), ("a/b/", "a", "b", "b"), (".a", ".", ".a", ".a"), ("/", "/", "", ""),
    ])
    func aPathIsAFolderANameAndAStem(path: String, folder: String, name: String, stem: String) {
        #expect(FilePath.folder(of: path) == folder)
        #expect(FilePath.name(of: path) == name)
        #expect(FilePath.stem(of: path) == stem)
    }

    @Test func stepsUpwardsAreTakenInTheFolder() {
        #expect(FilePath.resolved("../c", in: "a/b") == "a/c")
        #expect(FilePath.resolved("../c", in: "b") == "c")
        #expect(FilePath.resolved("../c", in: ".") == "../c")
        #expect(FilePath.resolved("../c", in: "/") == "/../c")
        #expect(FilePath.resolved("/c", in: "a") == "/c")
    }
}
