import Glibc
import VditFiles

/// The folder of a report. It is new, empty, or one of an earlier comparison.
struct ReportFolder {
    static let clips = "clips"
    static let pictures = "pictures"

    private let path: String
    /// What is done and what is not.
    var database: String { path + "/comparison.sqlite" }
    private let isNew: Bool

    /// Makes it where it does not exist.
    ///
    /// - Throws: `BatchError.invalid` (73) for a folder that holds something else, or cannot be made.
    init(_ path: String) throws {
        self.path = path
        isNew = !FilePath.exists(path)
        let inside = FilePath.names(in: path) ?? []
        if !inside.isEmpty, !inside.contains(Self.clips) {
            throw BatchError.invalid(
                path, found: "a folder with other files",
                expected: "a new or empty folder, or one of an earlier comparison", kind: .cannotCreate)
        }
        // Rows were files of their own once, and nothing else told what was finished.
        if FilePath.names(in: "\(path)/\(Self.clips)")?.contains(where: { $0.hasSuffix(".row.json") }) == true {
            throw BatchError.invalid(
                path, found: "a comparison by an earlier version of vdit",
                expected: "that version, or a new folder", kind: .cannotCreate)
        }
        try FilePath.makeFolder("\(path)/\(Self.clips)")
    }

    /// Runs work as the only comparison in this folder, after removing what a killed one left half-written.
    ///
    /// - Throws: `BatchError.invalid` (75) while another comparison works there.
    func alone<Result>(_ work: () throws -> Result) throws -> Result {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        // A file system without locks: nothing to hold, nothing to clean.
        guard descriptor >= 0 else { return try work() }
        defer { close(descriptor) }
        if flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            if errno == EWOULDBLOCK {
                throw BatchError.invalid(
                    path, found: "another comparison at work there", expected: "one at a time", kind: .temporary)
            }
            return try work()
        }
        for file in FilePath.files(under: path) where file.hasSuffix(".part") { unlink(file) }
        return try work()
    }

    /// Takes back what `init` made, as far as nothing is in it.
    func removeIfEmpty() {
        rmdir("\(path)/\(Self.clips)")
        if isNew { rmdir(path) }
    }
}
