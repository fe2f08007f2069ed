import Testing
import TestSupport
import VDiT

/// Wrong names, values and combinations end in one line that names the culprit.
@Suite struct MethodOptionErrors {
    private func message(
        _ name: String, _ options: [String: String] = [:], density: Double? = nil
    ) -> String? {
        do {
            _ = try MethodChoice(name, options: options, density: density)
            return nil
        } catch {
            return error.kind == .usage || error.kind == .unsupported ? error.description : "wrong kind: \(error)"
        }
    }

    @Test(arguments: [
        ("radail", [:], "sparse method 'radail': unknown, expected one of dense, radial, svg2, draft, rettention, vsa, adaspa, mass, xattention, sparge, jenga, sla, asa, gna, psa, svg1, vmoba, grat, sta, sparse-vdit (did you mean radial?)"),
        ("radial", ["decya": "1"], "sparse option 'decya': radial has none of that name; did you mean 'decay'?"),
        ("radial", ["density-steps": "50%:0"], "sparse option 'density-steps' of radial: found '50%:0', expected none, or ends of steps in their order, each with a density above 0, such as 25%:0.5+50%:0.3"),
        ("svg2", ["density-steps": "50%:0.3+25%:0.2"], "sparse option 'density-steps' of svg2: found '50%:0.3+25%:0.2', expected none, or ends of steps in their order, each with a density above 0, such as 25%:0.5+50%:0.3"),
        ("svg2", ["density-steps": "3:0.3+50%:0.2"], "sparse option 'density-steps' of svg2: found '3:0.3+50%:0.2', expected none, or ends of steps in their order, each with a density above 0, such as 25%:0.5+50%:0.3"),
        ("mass", ["density-layers": "25%:0.5"], "sparse option 'density-layers' of mass: found '25%:0.5', expected none, or ends of transformer blocks in their order, each with a density above 0, such as 2:0.5+8:0.3"),
        ("radial", ["density-layers": "2:0.5+"], "sparse option 'density-layers' of radial: found '2:0.5+', expected none, or ends of transformer blocks in their order, each with a density above 0, such as 2:0.5+8:0.3"),
        ("dense", ["density-steps": "50%:0.5"], "sparse option 'density-steps': belongs to radial, svg2, draft, rettention, vsa, adaspa, mass, xattention, sparge, jenga, sla, asa, gna, psa, svg1, vmoba, grat, sta, sparse-vdit, not to dense"),
        ("radial", ["zzzzzzzzzzz": "1"], "sparse option 'zzzzzzzzzzz': radial has none of that name"),
        ("radial", ["top-p": "0.9"], "sparse option 'top-p': belongs to svg2, not to radial"),
        ("radial", ["decay": "-1"], "sparse option 'decay' of radial: found '-1', expected a number from 0.0 to 100.0"),
        ("radial", ["decay": "nan"], "sparse option 'decay' of radial: found 'nan', expected a number from 0.0 to 100.0"),
        ("radial", ["block": "8.5"], "sparse option 'block' of radial: found '8.5', expected auto, or an integer from 16 to 256"),
        ("radial", ["block": "99999999999999999999"], "sparse option 'block' of radial: found '99999999999999999999', expected auto, or an integer from 16 to 256"),
        ("radial", ["sink": "yes"], "sparse option 'sink' of radial: found 'yes', expected on or off"),
        ("svg2", ["top-p": "1.5"], "sparse option 'top-p' of svg2: found '1.5', expected a number from 0.0 to 1.0"),
        ("svg2", ["first-iterations": "0"], "sparse option 'first-iterations' of svg2: found '0', expected an integer from 1 to 1000"),
        ("svg2", ["key-clusters": "none"], "sparse option 'key-clusters' of svg2: found 'none', expected auto, or an integer from 1 to 16384"),
        ("draft", ["sparsity": "1"], "sparse option 'sparsity' of draft: found '1', expected a number from 0.0 to 0.999"),
        ("draft", ["pool-height": "0"], "sparse option 'pool-height' of draft: found '0', expected an integer from 1 to 256"),
        ("rettention", ["dense-steps": "120%"], "sparse option 'dense-steps' of rettention: found '120%', expected a number of steps, or a part of them such as 25% or 0.25"),
        ("rettention", ["dense-layers": "-1"], "sparse option 'dense-layers' of rettention: found '-1', expected an integer from 0 to 1000"),
        ("rettention", ["preset": "wam"], "sparse option 'preset' of rettention: found 'wam', expected wan or ltx or cogvideox or reference"),
        ("dense", ["preset": "wan"], "sparse option 'preset' of dense: found 'wan', expected none: it has no presets"),
        ("dense", ["decay": "1"], "sparse option 'decay': belongs to radial, not to dense"),
    ] as [(String, [String: String], String)])
    func wrongOptionNamesItsCulprit(name: String, options: [String: String], expected: String) {
        #expect(message(name, options) == expected)
    }

    @Test func densityIsCheckedAndContradictionsAreNamed() throws {
        for density in [0, -0.1, 1.01, .nan, .infinity] {
            #expect(message("radial", density: density)?.hasPrefix("density: found") == true)
        }
        #expect(
            message("svg2", ["top-p": "0.9"], density: 0.3)
                == "sparse method svg2: density and option 'top-p' decide the same thing, give one")
        #expect(message("dense", density: 0.3) == "density 0.3: the nearest that dense reaches is 1.0")
        #expect(message("dense", density: 1) == nil)
    }

    @Test func unreachableDensityNamesTheRange() throws {
        for name in MethodCatalogue.methods.filter({ !$0.densityOptions.isEmpty }).map(\.name) {
            let configured = try MethodChoice(name, density: 0.01).configured()
            // Text alone is more than that.
            let layout = TokenLayout(frames: 3, height: 6, width: 8, textAfter: 60)
            do {
                _ = try AttentionContext(configured, layout: layout)
                Issue.record("\(name) accepted it")
            } catch {
                guard case .unreachableDensity(0.01, name, let reachable) = error else {
                    Issue.record("\(error)")
                    continue
                }
                #expect(reachable.lowerBound > 0.4 && reachable.upperBound <= 1)
                let words = reachable.lowerBound == reachable.upperBound ? "the nearest that \(name) reaches" : "\(name) reaches"
                #expect(error.description.hasPrefix("density 0.01: \(words) "))
            }
            let context = try AttentionContext(configured, layout: layout, fallback: .dense)
            #expect(context.refusal() != nil)
            var random = SeededRandom(seed: 1)
            let call = MethodCase.call(layout, step: 49, layer: 9, &random)
            let dense = blockSparseAttention(call, .dense(tokens: layout.tokens), values: .f32)
            #expect(try context.attend(call).values.floats() == dense.values.floats())
            #expect(context.statistics.total.fallbackCalls == 1)
        }
    }

    @Test(arguments: ["decay", "=1", "decay=", ""])
    func optionThatIsNoPairIsRefused(text: String) {
        #expect(throws: ChoiceError.self) { try MethodCatalogue.parse([text]) }
    }

    @Test func optionGivenTwiceIsRefused() throws {
        #expect(throws: ChoiceError.self) { try MethodCatalogue.parse(["decay=1", "decay=2"]) }
        #expect(try MethodCatalogue.parse(["decay=1", "sink=on=off"]) == ["decay": "1", "sink": "on=off"])
    }

    @Test(arguments: ["svg2", "rettention"])
    func stateThatDoesNotFitIsRefused(name: String) throws {
        let layout = TokenLayout(frames: 2, height: 4, width: 8)
        let configured = try MethodChoice(name).withoutWarmUp().configured()
        let context = try AttentionContext(configured, layout: layout)
        for key in ["ratio", "conditional.x.ratio", "sideways.0.ratio", "conditional.0.nonsense", "conditional.-1.ratio"] {
            #expect(throws: AttentionError.self) { try context.restore([key: Tensor(.f32, [1])]) }
        }
        let state = name == "svg2" ? "conditional.0.key-centroids" : "conditional.0.residual"
        for wrong in [Tensor(.f32, [3]), Tensor(.i32, [2, 64, 16]), Tensor(.f32, [])] {
            try context.restore([state: wrong])
            var random = SeededRandom(seed: 1)
            let call = MethodCase.call(layout, &random)
            #expect(throws: AttentionError.self) { try context.attend(call) }
        }
    }

    @Test func everyPresetAndDefaultIsWithinItsOwnRanges() throws {
        for method in MethodCatalogue.methods {
            #expect(!method.summary.isEmpty)
            for preset in method.presets {
                // Named as an option, its values are taken; spelt out one by one, they are checked.
                let named = try MethodChoice(method.name, options: ["preset": preset.name])
                let spelt = try MethodChoice(method.name, options: preset.values)
                #expect(named.configured().options == spelt.configured().options)
                for model in preset.models {
                    #expect(method.preset(forModel: model)?.name == preset.name)
                    #expect(
                        try MethodChoice(method.name).configured(forModel: model).options
                            == spelt.configured().options)
                }
            }
            let defaults = Dictionary(
                uniqueKeysWithValues: method.options.map { ($0.name, $0.defaultSetting.text) })
            #expect(
                try MethodChoice(method.name, options: defaults).configured().options
                    == MethodChoice(method.name).configured().options)
        }
    }
}
