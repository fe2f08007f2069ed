import Foundation
import TestSupport
import Testing
import VDiT

/// Outputs appear complete or not at all, and what cannot be created is said before any work.
@Suite struct AtomicFileTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    func expectRefusal(
        _ path: String, _ kind: FailureKind, _ part: String, existing: ExistingFile = .replace,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        for writes in [false, true] {
            do throws(FileError) {
                if writes {
                    try AtomicFile.write([1, 2, 3], to: path, existing: existing)
                } else {
                    try AtomicFile.check(path, existing: existing)
                }
                Issue.record("\(path) was accepted", sourceLocation: sourceLocation)
            } catch {
                #expect(error.kind == kind, "\(error)", sourceLocation: sourceLocation)
                #expect(error.description.contains(part), "\(error)", sourceLocation: sourceLocation)
            }
        }
    }

    @Test func nothingAppearsBeforeTheCommit() throws {
        let path = directory.path("out.bin")
        let file = try AtomicFile(path, existing: .refuse)
        try file.write([1, 2, 3])
        #expect(!directory.contents.contains("out.bin"))
        #expect(directory.contents.count == 1)
        try file.write([4])
        try file.commit()
        #expect(directory.contents == ["out.bin"])
        #expect(FileManager.default.contents(atPath: path) == Data([1, 2, 3, 4]))
    }

    @Test func aFileDroppedWithoutCommitLeavesNothing() throws {
        do {
            let file = try AtomicFile(directory.path("out.bin"), existing: .refuse)
            try file.write([1])
        }
        #expect(directory.contents == [])
    }

    @Test func anExistingFileIsRefusedOrReplacedAsAsked() throws {
        let path = try directory.write("old", "out.bin")
        expectRefusal(path, .cannotCreate, "'overwrite'", existing: .refuse)
        #expect(FileManager.default.contents(atPath: path) == Data("old".utf8))
        try AtomicFile.write([7], to: path, existing: .replace)
        #expect(FileManager.default.contents(atPath: path) == Data([7]))
    }

    @Test func aFileThatAppearsMeanwhileIsNotOverwritten() throws {
        let file = try AtomicFile(directory.path("out.bin"), existing: .refuse)
        try file.write([1])
        try directory.write("other", "out.bin")
        #expect(throws: FileError.self) { try file.commit() }
        #expect(directory.contents == ["out.bin"])
        #expect(FileManager.default.contents(atPath: directory.path("out.bin")) == Data("other".utf8))
    }

    @Test func aLeftoverOfAKilledProcessIsNoObstacle() throws {
        let path = directory.path("out.bin")
        let leftover = PartFile.path(for: path)
        try Data([9, 9, 9, 9]).write(to: URL(fileURLWithPath: leftover))
        try AtomicFile.write([1], to: path, existing: .refuse)
        #expect(directory.contents == ["out.bin"])
        #expect(FileManager.default.contents(atPath: path) == Data([1]))
    }

    @Test func placesWhereNoFileCanBeAreRefused() throws {
        try FileManager.default.createDirectory(
            atPath: directory.path("folder"), withIntermediateDirectories: false)
        try directory.write("x", "file")
        expectRefusal(directory.path("absent/out.bin"), .cannotCreate, "does not exist")
        expectRefusal(directory.path("file/out.bin"), .cannotCreate, "file")
        expectRefusal(directory.path("folder"), .cannotCreate, "is a directory")
        expectRefusal(directory.path("folder/"), .cannotCreate, "directory")
        expectRefusal(directory.path(".."), .cannotCreate, "directory")
        expectRefusal("", .usage, "the path is empty")
        expectRefusal("/dev/null", .cannotCreate, "device")
        expectRefusal(directory.path("nul\0.bin"), .cannotCreate, "NUL")
        expectRefusal(directory.path(String(repeating: "x", count: 300)), .cannotCreate, "too long")
        #expect(mkfifo(directory.path("fifo"), 0o600) == 0)
        expectRefusal(directory.path("fifo"), .cannotCreate, "FIFO")
        #expect(symlink("loop", directory.path("loop")) == 0)
        expectRefusal(directory.path("loop"), .cannotCreate, "link")
        #expect(directory.contents == ["fifo", "file", "folder", "loop"])
    }

    @Test(.enabled(if: getuid() != 0, "root may write anywhere"))
    func aDirectoryWithoutPermissionIsRefused() throws {
        #expect(chmod(directory.path, 0o500) == 0)
        defer { chmod(directory.path, 0o700) }
        expectRefusal(directory.path("out.bin"), .permission, "permission")
    }

    @Test func aFileWrittenBySomebodyElseCanBeCommitted() throws {
        let path = directory.path("out.bin")
        let temporary = PartFile.path(for: path)
        try Data([5]).write(to: URL(fileURLWithPath: temporary))
        try AtomicFile.commit(temporary: temporary, to: path, existing: .refuse)
        #expect(directory.contents == ["out.bin"])
        try Data([6]).write(to: URL(fileURLWithPath: temporary))
        #expect(throws: FileError.self) {
            try AtomicFile.commit(temporary: temporary, to: path, existing: .refuse)
        }
        #expect(directory.contents == ["out.bin"])
        #expect(throws: FileError.self) {
            try AtomicFile.commit(temporary: temporary, to: path, existing: .replace)
        }
        #expect(FileManager.default.contents(atPath: path) == Data([5]))
    }
}
