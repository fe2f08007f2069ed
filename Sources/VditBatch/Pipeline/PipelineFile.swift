import Foundation
import VditFiles
import VditPipeline
import VditTensor
import Yams

/// What a pipeline file says, checked for everything that can be checked without opening a model.
public struct PipelineFile {
    /// One axis of a matrix: its name and the settings of each of its values.
    struct Axis: Sendable {
        struct Point: Sendable {
            let label: String
            let settings: [String: SettingValue]
            let mark: SourceMark
        }

        let name: String
        let points: [Point]
        let mark: SourceMark
    }

    struct Matrix: Sendable {
        var axes: [Axis] = []
        /// Combinations to leave out: axis or setting name to label.
        var excluded: [[String: String]] = []
    }

    /// What holds for the whole batch.
    public struct Limits: Sendable {
        /// More attempts for a job that failed in a way that may pass.
        public var retries = 0
        /// Memory all of the batch may take.
        public var memory: Int?
        /// Combinations the file may describe.
        public var maxJobs = 10_000
        /// Seconds without a sign of life after which another process takes a job over.
        public var lease = 60.0
    }

    public let path: String
    public let limits: Limits
    public let slurm: SlurmOptions
    /// The run database.
    public let database: String
    /// Where it is named, else the beginning of the file.
    let databaseMark: SourceMark
    /// Where the table of the comparisons goes, as Markdown or CSV.
    let table: (path: String, mark: SourceMark)?
    let defaults: [String: SettingValue]
    let matrix: Matrix
    let jobs: [JobEntry]
    let output: SettingValue?
    let document: PipelineDocument

    static let topKeys = ["version", "defaults", "matrix", "jobs", "output", "database", "table", "limits", "slurm"]
    static let limitKeys = ["retries", "memory", "max_jobs", "lease"]

    /// Reads a file.
    ///
    /// - Parameters:
    ///   - overrides: `a.b=value` each, applied before anything is checked.
    ///   - environment: for `${NAME}` in paths; nil is that of the process.
    /// - Throws: `BatchError.pipeline` with every problem: 65 for what is no YAML, else 78.
    public init(
        path: String, overrides: [String] = [],
        environment: [String: String]? = nil
    ) throws {
        let document = PipelineDocument(path: path)
        let environment = environment ?? Surroundings.environment
        var root = try document.compose(PipelineDocument.text(path: path))
        for override in overrides { root = try document.applying(override, to: root) }
        self.path = path
        self.document = document

        let top = Dictionary(
            document.entries(root, of: "pipeline", known: Self.topKeys).map { ($0.key, $0) },
            uniquingKeysWith: { a, _ in a })
        try document.throwIfNoMapping(root)
        let rootMark = PipelineDocument.mark(root)
        if let version = top["version"] {
            _ = document.integer(version.value, "version", in: 1...1)
        } else {
            document.report(rootMark, "version: missing; begin the file with 'version: 1'")
        }
        defaults = top["defaults"].map {
            document.settings(
                document.entries($0.value, of: "defaults", known: SettingTable.keys), of: "defaults.",
                in: environment)
        } ?? [:]
        output = top["output"].flatMap { document.template($0.value, "output", environment) }
        matrix = top["matrix"].map { document.matrix($0.value, "matrix", environment) } ?? Matrix()
        limits = top["limits"].map { document.limits($0.value) } ?? Limits()
        slurm = top["slurm"].map { document.slurm($0.value) } ?? SlurmOptions()
        func file(_ key: String) -> String? {
            guard let node = top[key]?.value, let text = document.text(node, key, "a path") else { return nil }
            return document.path(of: text, node, key, environment)
        }
        let named = file("database")
        let table = file("table")
        if let table, !table.hasSuffix(".md"), !table.hasSuffix(".csv") {
            document.report(
                top["table"].map { PipelineDocument.mark($0.value) } ?? rootMark,
                "table: found '\(table)', expected a name that ends in .md or .csv")
        }
        databaseMark = top["database"].map { PipelineDocument.mark($0.value) } ?? rootMark
        self.table = table.map { (path: $0, mark: top["table"].map { PipelineDocument.mark($0.value) } ?? rootMark) }

        var entries: [JobEntry] = []
        if let list = top["jobs"] {
            entries = document.jobs(list.value, environment)
            if case .sequence(let sequence) = list.value, sequence.isEmpty {
                document.report(list.keyMark, "jobs: the list is empty; there is nothing to do")
            }
        } else if !matrix.axes.isEmpty {
            entries = [
                JobEntry(
                    name: FilePath.label(FilePath.stem(of: path)), settings: [:], matrix: Matrix(), needs: [],
                    output: nil, comparison: nil, mark: top["matrix"]?.keyMark ?? rootMark)
            ]
        } else if top["matrix"] == nil {
            document.report(rootMark, "jobs: missing, and so is matrix; there is nothing to do")
        }
        jobs = entries
        document.checkNames(entries)
        database = named ?? FilePath.resolved("\(FilePath.stem(of: path)).vdit.sqlite", in: Self.outputFolder(output, path))
    }

    /// Where outputs lie, as far as that does not depend on the job.
    private static func outputFolder(_ output: SettingValue?, _ path: String) -> String {
        guard let text = output?.text else { return FilePath.folder(of: path) }
        let constant = text.prefix { $0 != "{" }
        return constant.lastIndex(of: "/").map { $0 == constant.startIndex ? "/" : String(constant[..<$0]) } ?? "."
    }
}

extension PipelineDocument {
    func throwIfNoMapping(_ root: Node) throws(BatchError) {
        if root.mapping == nil { try throwProblems() }
    }

    func limits(_ node: Node) -> PipelineFile.Limits {
        var limits = PipelineFile.Limits()
        for entry in entries(node, of: "limits", known: PipelineFile.limitKeys) {
            let what = "limits.\(entry.key)"
            switch entry.key {
            case "retries": limits.retries = integer(entry.value, what, in: 0...100) ?? 0
            case "max_jobs": limits.maxJobs = integer(entry.value, what, in: 1...100_000) ?? 10_000
            case "lease":
                if let seconds = number(entry.value, what) {
                    if (1...86_400).contains(seconds) { limits.lease = seconds } else {
                        report(Self.mark(entry.value), "\(what): found \(seconds), expected 1 to 86400 seconds")
                    }
                }
            default:
                guard let text = written(entry.value, what, "a size such as 20G") else { continue }
                limits.memory = ByteCount(written: text)?.bytes
                if limits.memory == nil {
                    report(Self.mark(entry.value), "\(what): found '\(text)', expected a size such as 20G or 512M")
                }
            }
        }
        return limits
    }

    /// Axes by setting (`seed: [1, 2]`) or by any name, whose values then are mappings of settings.
    func matrix(_ node: Node, _ what: String, _ environment: [String: String]) -> PipelineFile.Matrix {
        var matrix = PipelineFile.Matrix()
        for entry in entries(node, of: what) {
            let name = "\(what).\(entry.key)"
            if entry.key == "exclude" {
                matrix.excluded = items(entry.value, of: name).map { item in
                    Dictionary(
                        entries(item, of: name).compactMap { pair in
                            written(pair.value, "\(name).\(pair.key)", "a value").map { (pair.key, FilePath.label($0)) }
                        }, uniquingKeysWith: { a, _ in a })
                }.filter { !$0.isEmpty }
                continue
            }
            let isSetting = SettingTable.key(entry.key) != nil
            var points: [PipelineFile.Axis.Point] = []
            let values = items(entry.value, of: name)
            if values.isEmpty, case .sequence = entry.value {
                report(entry.keyMark, "\(name): the list is empty; there is nothing to do")
            }
            for (index, value) in values.enumerated() {
                let place = "\(name)[\(index)]"
                if let point = self.point(value, place, setting: isSetting ? entry.key : nil, environment) {
                    points.append(point)
                } else if !isSetting, value.mapping == nil {
                    let hint = spellingHint(for: entry.key, among: SettingTable.keys)
                    report(
                        entry.keyMark,
                        "\(what): '\(entry.key)' is no setting\(hint); an axis of another name lists mappings of settings")
                    break
                }
            }
            for (index, point) in points.enumerated()
            where points[..<index].contains(where: { $0.label == point.label }) {
                report(point.mark, "\(name): '\(point.label)' is there twice")
            }
            matrix.axes.append(PipelineFile.Axis(name: entry.key, points: points, mark: entry.keyMark))
        }
        return matrix
    }

    private func point(
        _ value: Node, _ what: String, setting: String?, _ environment: [String: String]
    ) -> PipelineFile.Axis.Point? {
        let mark = Self.mark(value)
        if case .mapping = value {
            if setting == "sparse_options" {
                let settings = self.setting("sparse_options", value, what, environment)
                guard let text = settings["sparse_options"]?.text else { return nil }
                return .init(label: FilePath.label(text), settings: settings, mark: mark)
            }
            let pairs = entries(value, of: what, known: ["name"] + SettingTable.keys)
            let name = pairs.first { $0.key == "name" }.flatMap { text($0.value, "\(what).name", "a name") }
            let settings = self.settings(pairs.filter { $0.key != "name" }, of: "\(what).", in: environment)
            let shown = pairs.filter { $0.key != "name" }.compactMap { $0.value.scalar?.string }.map(FilePath.stemIfPath)
            return .init(label: FilePath.label(name ?? shown.joined(separator: "-")), settings: settings, mark: mark)
        }
        guard let setting else { return nil }
        let settings = self.setting(setting, value, what, environment)
        guard !settings.isEmpty, let written = value.scalar?.string else { return nil }
        return .init(label: FilePath.label(FilePath.stemIfPath(written)), settings: settings, mark: mark)
    }
}
