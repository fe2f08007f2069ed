import Foundation
import VditPipeline

/// The JSON Schema of pipeline files: what an editor needs to complete names and to mark mistakes.
public enum PipelineSchema {
    /// Draft 2020-12, keys sorted.
    public static var json: String {
        let data = try? JSONSerialization.data(
            withJSONObject: document, options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes])
        return String(decoding: data ?? Data(), as: UTF8.self)
    }

    private typealias Object = [String: Any]

    private static var rows: [any SettingRow] { SettingTable.all.filter(\.isKey) }

    private static var document: Object {
        let settings: Object = Dictionary(uniqueKeysWithValues: rows.map { ($0.name, schema($0) as Any) })
        var axes: Object = [
            "exclude": [
                "type": "array", "items": ["type": "object"], "description": "combinations to leave out",
            ] as Object
        ]
        for setting in rows {
            axes[setting.name] = ["type": "array", "minItems": 1, "items": schema(setting)] as Object
        }
        let matrix: Object = [
            "type": "object", "properties": axes, "description": "axes whose values are combined",
            "additionalProperties": [
                "type": "array", "minItems": 1,
                "items": mapping(settings.merging(["name": text("what {placeholders} say")] as Object) { a, _ in a }),
                "description": "an axis of any name: each value is a mapping of settings",
            ] as Object,
        ]
        let output = text("path with {placeholders}, relative to this file")
        let names: Object = [
            "name": text("letters, digits and . _ - + ="), "output": output,
            "needs": ["type": "array", "items": ["type": "string"], "description": "jobs that must be done first"] as Object,
        ]
        let render = mapping(
            settings.merging(names.merging(["matrix": matrix] as Object) { a, _ in a }) { a, _ in a }, required: ["name"])
        let comparison = mapping(
            Self.comparison.merging(names) { a, _ in a }.merging(
                settings.filter { PipelineFile.ComparisonEntry.settings.contains($0.key) }) { a, _ in a },
            required: ["name", "compare", "output"])
        let job: Object = ["anyOf": [render, comparison]]
        var document = mapping(
            [
                "version": ["const": 1] as Object, "output": output,
                "database": text("run database; NAME.vdit.sqlite beside the outputs when not given"),
                "table": text("where the table of the comparisons goes, .md or .csv"),
                "defaults": mapping(settings), "matrix": matrix,
                "jobs": ["type": "array", "minItems": 1, "items": job] as Object,
                "limits": mapping([
                    "retries": integer(0...100, "more attempts for a job that failed in a way that may pass"),
                    "memory": text("memory the batch may take, such as 20G"),
                    "max_jobs": integer(1...100_000, "combinations the file may describe"),
                    "lease": ["type": "number", "minimum": 1, "maximum": 86_400, "description": "seconds of silence after which a job is taken over"] as Object,
                ]),
                "slurm": mapping(slurm),
            ], required: ["version"])
        document["$schema"] = "https://json-schema.org/draft/2020-12/schema"
        document["title"] = "vdit pipeline"
        return document
    }

    private static var comparison: Object {
        let files: Object = [
            "type": "array", "minItems": 2, "items": ["type": "string"], "description": "the reference, then the candidates",
        ]
        let values: Object = [
            "type": "object", "minProperties": 1, "description": "values on axes of the compared job, such as {sparse: dense}",
        ]
        return [
            "compare": ["anyOf": [text("the job whose renders are compared"), files]] as Object,
            "reference": ["anyOf": [values, text("the job whose renders they are compared with")]] as Object,
            "align": ["type": "boolean", "description": "compare as many frames as the shorter clip has"] as Object,
            "min_psnr": ["type": "number", "description": "dB below which the comparison fails"] as Object,
            "csv": text("where a line per frame goes"),
        ]
    }

    private static var slurm: Object {
        var keys = Dictionary(
            uniqueKeysWithValues: ["partition", "account", "qos", "constraint", "time", "mem"]
                .map { ($0, text("as sbatch --\($0)") as Any) })
        keys["cpus_per_task"] = integer(1...4096, "cores of a task")
        keys["tasks"] = integer(1...100_000, "tasks the jobs are shared among")
        keys["throttle"] = integer(1...100_000, "tasks that run at the same time")
        keys["warning"] = integer(10...65_535, "seconds before the time limit at which the state is saved")
        keys["extra"] = ["type": "array", "items": ["type": "string", "pattern": "^--"]] as Object
        return keys
    }

    private static func schema(_ setting: any SettingRow) -> Object {
        var schema: Object = switch setting.kind {
        case .input, .output: ["type": "string"]
        case .integer(let range): integer(range, "")
        case .number: ["type": "number"]
        case .flag: ["type": "boolean"]
        case .choice(let names): ["enum": names]
        case .size: ["type": "string", "pattern": "^[0-9]+[x*×][0-9]+$"]
        case .written: ["type": ["string", "number"]]
        case .options: ["type": "object"]
        case .numbers: ["type": ["array", "string", "number"], "items": ["type": "number"] as Object]
        case .adapters: ["type": ["string", "array"], "items": ["anyOf": [["type": "string"] as Object, adapter]] as Object]
        }
        schema["description"] = setting.summary
        return schema
    }

    private static var adapter: Object {
        mapping(["file": text("a path"), "strength": ["type": "number"] as Object], required: ["file"])
    }

    private static func mapping(_ properties: Object, required: [String] = []) -> Object {
        var schema: Object = ["type": "object", "properties": properties, "additionalProperties": false]
        if !required.isEmpty { schema["required"] = required }
        return schema
    }

    private static func text(_ description: String) -> Object { ["type": "string", "description": description] }

    private static func integer(_ range: ClosedRange<Int>, _ description: String) -> Object {
        var schema: Object = ["type": "integer", "minimum": range.lowerBound, "description": description]
        if range.upperBound != .max { schema["maximum"] = range.upperBound }
        return schema
    }
}
