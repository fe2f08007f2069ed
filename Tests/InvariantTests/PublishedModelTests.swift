import Foundation
import TestSupport
import Testing
import VDiT

/// Every released configuration, from a checkpoint of its size without the weights.
struct PublishedModelTests {
    static let names = [
        "wan2.1-t2v-1.3b", "wan2.1-t2v-14b", "wan2.2-t2v-a14b", "fastwan2.1-t2v-1.3b", "wan2.2-ti2v-5b",
        "wan2.1-i2v-14b", "wan2.1-flf2v-14b", "wan2.2-i2v-a14b", "ltx-video-2b-0.9.0", "ltx-video-2b-0.9.1",
        "ltx-video-2b-0.9.5", "ltx-video-2b-0.9.8", "ltx-video-13b", "cogvideox-2b", "cogvideox-5b",
        "cogvideox1.5-5b", "hunyuan-video", "mochi",
    ]

    private static func published(_ name: String) throws -> PublishedModel {
        try #require(try ModelCatalogue.published().first { $0.name == name }, "\(name)")
    }

    /// All but the family that tests add.
    @Test func theseAreAll() throws {
        #expect(try ModelCatalogue.published().map(\.name).filter { $0 != "toy-mini" } == Self.names)
    }

    /// Its files are found, every tensor has the shape that the configurations ask for, and a run is planned.
    @Test(arguments: names)
    func isOpenedAndPlanned(_ name: String) throws {
        let published = try Self.published(name)
        let folder = try TemporaryDirectory()
        var checkpoint = RandomCheckpoint(published)
        checkpoint.isHollow = true
        try checkpoint.write(to: folder.path("model"))
        let model = try ModelDirectory(path: folder.path("model"))
        let (found, expected) = (model.specification, published.specification)
        #expect(found.family == expected.family && found.defaults == expected.defaults)
        #expect(found.transformers.map(\.component) == expected.transformers.map(\.component))
        #expect(found.transformers.map(\.boundary) == expected.transformers.map(\.boundary))
        #expect(found.parameterCount == expected.parameterCount)
        #expect(found.decoder.parameterCount == expected.decoder.parameterCount)

        let (defaults, request) = (found.defaults, RenderRequest())
        let plan = try RenderPlan(request, model: found, sampler: model.scheduler)
        #expect(
            plan.latents
                == found.latentShape(width: defaults.width, height: defaults.height, numFrames: defaults.numFrames))
        #expect(plan.estimate.tokens > 1000 && plan.estimate.totalFLOPs > 1e15)
        #expect(plan.estimate.parameters == expected.parameterCount)
    }

    /// The presets that models get by their names, of methods and step caches; where a model is not named the options'
    /// own defaults hold. Those of the models a paper measured are that paper's.
    @Test func everyModelGetsThePresetMadeForIt() throws {
        let large = ["wan2.1-t2v-14b", "wan2.1-i2v-14b", "wan2.1-flf2v-14b"]
        let experts = ["wan2.2-t2v-a14b", "wan2.2-i2v-a14b"]
        let small = ["wan2.1-t2v-1.3b", "wan2.2-ti2v-5b"]
        let ltx = Self.names.filter { $0.hasPrefix("ltx-") }
        let cogVideoX = Self.names.filter { $0.hasPrefix("cogvideox") }
        func all(_ rows: [([String], String)]) -> [String: String] {
            Dictionary(uniqueKeysWithValues: rows.flatMap { names, preset in names.map { ($0, preset) } })
        }
        let expected: [String: [String: String]] = [
            "radial": all([
                (small, "wan-1.3b"), (large, "wan-14b"), (experts, "wan2.2-a14b"), (ltx, "ltx"),
                (["hunyuan-video"], "hunyuan-video"), (["mochi"], "mochi"),
            ]),
            "svg2": all([
                (small, "wan-1.3b"), (["wan2.1-t2v-14b", "wan2.2-t2v-a14b"], "wan-14b"),
                (["wan2.1-i2v-14b", "wan2.1-flf2v-14b", "wan2.2-i2v-a14b"], "wan-14b-i2v"), (ltx, "ltx"),
                (["hunyuan-video"], "hunyuan-video"),
            ]),
            "draft": all([
                (small, "wan-1.3b"), (large + experts, "wan-14b"), (ltx, "ltx"), (["hunyuan-video"], "hunyuan-video"),
                (cogVideoX, "cogvideox"),
            ]),
            "rettention": all([(small + large + experts, "wan"), (ltx, "ltx"), (cogVideoX, "cogvideox")]),
            "vsa": all([(small, "fastwan-1.3b"), (large + experts, "fastwan-14b")]),
            "sla": all([(small + large + experts, "turbodiffusion")]),
            "jenga": all([(["hunyuan-video"], "hunyuan-video")]),
            "gna": all([(["hunyuan-video"], "hunyuan-video")]),
            "asa": all([(cogVideoX, "cogvideox")]),
            "magcache": all([
                (["wan2.1-t2v-14b", "wan2.1-i2v-14b"], "wan2.1-14b"), (["hunyuan-video"], "hunyuan-video"),
                (["wan2.2-ti2v-5b"], "wan2.2-5b"), (["wan2.2-t2v-a14b"], "wan2.2-a14b"),
            ]),
            "teacache": all([
                (["wan2.1-t2v-14b"], "wan2.1-14b"), (["wan2.1-i2v-14b"], "wan2.1-14b-i2v"), (cogVideoX, "cogvideox"),
            ]),
            "fbcache": all([(["hunyuan-video"], "hunyuan-video")]), "pab": all([(cogVideoX, "cogvideox")]),
        ]
        for model in Self.names {
            let name = try Self.published(model).specification.defaults.name
            let given = expected.mapValues { $0[name] }
            for (method, preset) in given {
                let found = MethodCatalogue.methods.first { $0.name == method }?.preset(forModel: name)?.name
                    ?? CacheCatalogue.caches.first { $0.name == method }?.preset(forModel: name)?.name
                #expect(found == preset, "\(method) for \(model)")
            }
        }
    }
}
