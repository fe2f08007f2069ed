import TestSupport
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

    /// A mark that combines with a slash makes one character of both, and is a part of the name all the same.
    @Test func pathsAreSplitByteForByte() {
        #expect(FilePath.folder(of: "/a/\u{301}b") == "/a" && FilePath.name(of: "/a/\u{301}b") == "\u{301}b")
        #expect(FilePath.canonical("/\u{301}a/../b") == "/b")
    }

    @Test func everyNameHasATextThatLeadsBackToIt() {
        var names: [[UInt8]] = [
            [0xe9], Array("caf\u{e9}".utf8), [0x63, 0xe9, 0x2f, 0xe9], [0xc3], [0xe2, 0x82], [0xf0, 0x9f, 0x98], [0xc0, 0x80],
            [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80],
            // The characters that stand for bytes, and their neighbours, in a name themselves.
            Array("\u{f7e9}".utf8), Array("\u{f780}\u{f7ff}".utf8), Array("\u{f77f}\u{f800}".utf8),
        ]
        var random = SeededGenerator(seed: 9)
        for _ in 0..<2000 {
            names.append((0..<Int.random(in: 1...6, using: &random)).map { _ in
                Bool.random(using: &random)
                    ? .random(in: 1...255, using: &random) : [0xef, 0x9e, 0x9f, 0xbf, 0xa9, 0xc3].randomElement(using: &random) ?? 1
            })
        }
        var texts: [[UInt8]: [UInt8]] = [:]
        for name in names {
            let text = String(pathBytes: name)
            #expect(text.pathBytes == name)
            #expect(texts.updateValue(name, forKey: Array(text.utf8)).map { $0 == name } ?? true)
            #expect(text.withPath { String(path: $0) }.utf8.elementsEqual(text.utf8))
        }
        #expect(String(pathBytes: Array("caf\u{e9}".utf8)) == "caf\u{e9}")
        #expect(String(pathBytes: [0x63, 0xe9]).onOneLine == "c\\xE9")
    }
}
