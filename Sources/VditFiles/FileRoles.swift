/// The files of one command: what it reads and what it makes. None that it makes may be another of them.
///
/// Places are compared, not names: `./a`, a linked folder and a hard link lead to the same file. What exists is its
/// device and inode; anything is also the rest of its path below the nearest folder that exists.
package struct FileRoles: Sendable {
    private struct File {
        let path: String
        let role: String
        let place: Place
    }

    private var inputs: [File] = []
    private var outputs: [File] = []

    /// Roles are what the files are to the command, such as "prompt embedding"; what is nil is not there.
    package init(
        reads: KeyValuePairs<String, String?> = [:], makes: KeyValuePairs<String, String?> = [:]
    ) {
        for (role, path) in reads { read(path, as: role) }
        for (role, path) in makes { make(path, as: role) }
    }

    /// A file that is read, or a folder of which every file may be, and those of the folders in it.
    package mutating func read(_ path: String?, as role: String) {
        guard let path else { return }
        let files = path.isEmpty ? [] : Self.files(in: path, depth: 2)
        for path in [path] + files { inputs.append(File(path: path, role: role, place: Place(path))) }
    }

    /// All that others read.
    package mutating func read(_ others: FileRoles) { inputs += others.inputs }

    /// A file or a folder that is made or replaced.
    ///
    /// - Parameter isNumbered: the name stands for many, as `frames/%05d.png` does.
    package mutating func make(_ path: String?, as role: String, isNumbered: Bool = false) {
        guard let path else { return }
        let place = path == StandardOutput.name ? Place.standardOutput : Place(path, isNumbered: isNumbered)
        outputs.append(File(path: path, role: role, place: place))
    }

    /// - Throws: `FileError.inaccessible` (64): an empty path, an output over an input, or two outputs in one place.
    package func check() throws(FileError) {
        for file in inputs + outputs where file.path.isEmpty { throw .emptyPath(file.role) }
        for (index, output) in outputs.enumerated() {
            func refuse(_ reason: String, _ other: File) -> FileError {
                let name = other.path == output.path ? "" : " (\(other.path))"
                return .inaccessible(path: StandardOutput.shown(output.path), reason: reason + name, kind: .usage)
            }
            if let input = inputs.first(where: { $0.place.meets(output.place) }) {
                throw refuse("the \(output.role) would replace the \(input.role)", input)
            }
            if let other = outputs[..<index].first(where: { $0.place.meets(output.place) }) {
                throw refuse("the \(output.role) would be the same file as the \(other.role)", other)
            }
        }
    }

    private static func files(in folder: String, depth: Int) -> [String] {
        guard depth > 0, FilePath.isFolder(folder) else { return [] }
        return (FilePath.names(in: folder) ?? []).flatMap { name -> [String] in
            let path = FilePath.joined(folder, name)
            return FilePath.isFolder(path) ? files(in: path, depth: depth - 1) : [path]
        }
    }
}

/// Where a path leads.
private struct Place: Sendable {
    /// What lies there.
    private let node: FilePath.Node?
    /// The nearest folder above that exists, and the names below it.
    private let folder: FilePath.Node?
    private let rest: [String]
    /// What stands before and behind the number of a name that stands for many.
    private let numbered: (prefix: String, suffix: String)?

    private let isStandardOutput: Bool

    static let standardOutput = Place()

    private init() { (node, folder, rest, numbered, isStandardOutput) = (nil, nil, [], nil, true) }

    init(_ path: String, isNumbered: Bool = false) {
        isStandardOutput = false
        node = FilePath.Node(path)
        let name = FilePath.name(of: path)
        var above = FilePath.folder(of: path)
        var rest = [name]
        while FilePath.Node(above) == nil, above != "/", above != "." {
            rest.insert(FilePath.name(of: above), at: 0)
            above = FilePath.folder(of: above)
        }
        folder = FilePath.Node(above)
        self.rest = rest.filter { $0 != "." }
        if isNumbered, let percent = name.firstIndex(of: "%"), let end = name[percent...].firstIndex(of: "d") {
            numbered = (String(name[..<percent]), String(name[name.index(after: end)...]))
        } else {
            numbered = nil
        }
    }

    /// Whether both lead to the same file.
    func meets(_ other: Place) -> Bool {
        if let node, node == other.node { return true }
        if isStandardOutput || other.isStandardOutput { return isStandardOutput == other.isStandardOutput }
        guard folder != nil, folder == other.folder, rest.dropLast() == other.rest.dropLast() else { return false }
        return rest == other.rest || standsFor(other) || other.standsFor(self)
    }

    private func standsFor(_ other: Place) -> Bool {
        guard let (prefix, suffix) = numbered, let name = other.rest.last, name.hasPrefix(prefix),
            name.hasSuffix(suffix), name.count > prefix.count + suffix.count
        else { return false }
        return name.dropFirst(prefix.count).dropLast(suffix.count).allSatisfy(\.isNumber)
    }
}
