import VditAttention

extension Rule<String?> {
    /// None unless one is asked for by its name.
    static var stepCache: Rule {
        Rule.builtIn(nil).adjusted { name, _ in name == CacheCatalogue.none ? nil : name }.shown { $0 != nil }
            .checked { name, decision in
                guard let name, decision.values.steps < CacheCatalogue.leastSteps else { return }
                throw PipelineError.setting(
                    "cache", found: "\(name) with \(decision.values.steps) steps",
                    expected: "at least \(CacheCatalogue.leastSteps) steps: of fewer, each does too much for another to "
                        + "stand in for it")
            }
    }
}

extension Rule<Double?> {
    static var cacheBudget: Rule {
        Rule.builtIn(nil).checked { budget, _ in
            guard let budget, !(budget > 0 && budget <= 1) else { return }
            throw PipelineError.setting("cache_budget", found: "\(budget)", expected: CacheChoice.shareRange)
        }
    }
}
