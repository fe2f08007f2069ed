import VditTensor

/// Clusters queries and keys by content, and lets each query cluster see the key clusters that hold most of
/// its estimated attention. Tokens are permuted cluster by cluster; outputs return to their places.
///
/// Centroids are kept from step to step, so that few iterations follow the activations.
/// - Source: Yang, Xi, Zhao, Li et al., Sparse VideoGen2: Accelerate Video Generation with Sparse Attention
///   via Semantic-Aware Permutation, arXiv 2505.18875; svg-project/Sparse-VideoGen.
/// - Differs: centroids are kept per guidance branch and start anew with every video; seeds are drawn without
///   replacement from a fixed seed; at `top-p` 1 everything is kept; equal estimates keep the lower cluster;
///   estimates are fp32. `auto` numbers of clusters shrink with the video, so that clusters fill a kernel tile.
public struct SVG2: SparseMethod {
    public static let name = "svg2"

    /// How many key clusters a query cluster keeps.
    package enum Budget: Sendable, Equatable {
        /// The smallest number whose estimated mass exceeds `mass`, and at least a share of all clusters.
        case mass(Double, least: Double)
        /// Key tokens of about this share of all token pairs.
        case density(Double)

        /// Video keys of a query, where a density decides.
        func keys(of layout: TokenLayout) -> Double? {
            guard case .density(let density) = self else { return nil }
            return layout.videoPairs(density: density) / Double(layout.videoTokens)
        }
    }

    /// Nil is `auto`.
    private let queryClusters: Int?
    private let keyClusters: Int?
    private let budget: Budget
    private let firstIterations: Int
    private let stepIterations: Int
    private let observesDenseSteps: Bool
    private let seed: UInt64

    init(
        queryClusters: Int?, keyClusters: Int?, budget: Budget, firstIterations: Int,
        stepIterations: Int, observesDenseSteps: Bool, seed: UInt64 = 0
    ) {
        self.queryClusters = queryClusters
        self.keyClusters = keyClusters
        self.budget = budget
        self.firstIterations = firstIterations
        self.stepIterations = stepIterations
        self.observesDenseSteps = observesDenseSteps
        self.seed = seed
    }

    private static let queryCentroids = "query-centroids"
    private static let keyCentroids = "key-centroids"

    public var learns: [String] { [Self.queryCentroids, Self.keyCentroids] }

    public func stateBytes(layout: TokenLayout, heads: Int, headDim: Int) -> Int {
        let clusters = counts(layout)
        return heads * (clusters.queries + clusters.keys) * headDim * 4
    }

    /// Never more clusters than tokens; `auto` is at most the published numbers, with at least 64 queries
    /// and 32 keys to a cluster.
    private func counts(_ layout: TokenLayout) -> (queries: Int, keys: Int) {
        let tokens = layout.videoTokens
        return (
            min(queryClusters ?? max(1, min(100, tokens / 64)), tokens),
            min(keyClusters ?? max(1, min(500, tokens / 32)), tokens)
        )
    }

    public func planner(for layout: TokenLayout) throws(AttentionError) -> any AttentionPlanner {
        if case .density(let density) = budget {
            // Every query sees one cluster.
            let least = layout.density(
                videoPairs: Double(layout.videoTokens) * Double(layout.videoTokens) / Double(counts(layout).keys))
            if density < least { throw .unreachableDensity(density, method: Self.name, reachable: least...1) }
        }
        return Planner(method: self)
    }

    private struct Planner: AttentionPlanner {
        let method: SVG2

        func observe(
            _ call: AttentionCall, _ output: AttentionOutput, _ state: inout MethodState
        ) throws(AttentionError) {
            if method.observesDenseSteps { _ = try method.cluster(call, &state) }
        }

        func plan(_ call: AttentionCall, _ state: inout MethodState) throws(AttentionError) -> AttentionPlan {
            try method.plan(call, &state)
        }
    }

    private func plan(_ call: AttentionCall, _ state: inout MethodState) throws(AttentionError) -> AttentionPlan {
        let (queries, keys) = try cluster(call, &state)
        let kernels = PlanningKernels(call.instructionSet)
        let budget = budget
        let heads = try call.pool.map(call.heads) { (head, scratch) throws(AttentionError) in
            let queryGroups = Groups(queries, head)
            let keyGroups = Groups(keys, head)
            let scores = try pairwiseScores(
                queries.centroids[head], keys.centroids[head], on: call.instructionSet, scratch)
            kernels.softmax(scores, scale: call.scale, weights: keyGroups.sizes.map(Float.init))
            // Where clusters are so few that whole ones miss a density, what a query cluster gets too little or too
            // much of is made up for by the next: in token pairs.
            let isCoarse = 0.5 / Double(keyGroups.sizes.count) > ConfiguredMethod.densityTolerance
            var owed = 0.0
            let kept = scores.withFloats { scores in
                queryGroups.clusters.map { cluster in
                    let row = scores[cluster * keyGroups.sizes.count..<(cluster + 1) * keyGroups.sizes.count]
                    let queries = Double(queryGroups.sizes[cluster])
                    let selected = Self.selected(
                        Array(row), keyGroups.sizes, budget, call.layout, extraKeys: owed / queries)
                    if isCoarse, let keys = budget.keys(of: call.layout) {
                        let taken = selected.reduce(0) { $0 + Double(keyGroups.sizes[Int($1)]) }
                        owed += queries * (keys - taken)
                    }
                    return keyGroups.blocks(selected)
                }
            }
            return AttentionPlan.Head(
                queries: try TokenBlocks(call.layout, videoOffsets: queryGroups.offsets),
                keys: try TokenBlocks(call.layout, videoOffsets: keyGroups.offsets),
                queryOrder: call.layout.order(ofVideo: queryGroups.order),
                keyOrder: call.layout.order(ofVideo: keyGroups.order), kept: { kept[$0] })
        }
        return AttentionPlan(heads: heads)
    }

    /// Moves the centroids to this call's queries and keys.
    private func cluster(
        _ call: AttentionCall, _ state: inout MethodState
    ) throws(AttentionError) -> (queries: Clustering, keys: Clustering) {
        let counts = counts(call.layout)
        let means = KMeans(pool: call.pool, instructionSet: call.instructionSet)
        func update(
            _ x: Tensor, _ name: String, _ known: Tensor?, _ clusters: Int, _ role: UInt64
        ) throws(AttentionError) -> Clustering {
            let shape = [call.heads, clusters, call.headDim]
            if let known { try MethodState.check(known, name, .f32, shape) }
            let site = UInt64(call.site.layer) &* 2 &+ role
            return try means.cluster(
                x, rows: call.layout.video,
                from: known ?? KMeans.seeds(
                    x, rows: call.layout.video, clusters: clusters,
                    seed: seed &+ site &* 0xd134_2543_de82_ef95),
                iterations: known == nil ? firstIterations : stepIterations)
        }
        let queries = try update(call.q, Self.queryCentroids, state[Self.queryCentroids], counts.queries, 0)
        let keys = try update(call.k, Self.keyCentroids, state[Self.keyCentroids], counts.keys, 1)
        state[Self.queryCentroids] = queries.centroids
        state[Self.keyCentroids] = keys.centroids
        return (queries, keys)
    }

    /// Key clusters a query cluster keeps, by its estimated attention to each; all if it has no estimate.
    ///
    /// - Parameters:
    ///   - mass: of each key cluster, summing to 1.
    ///   - extraKeys: beyond what a density says.
    package static func selected(
        _ mass: [Float], _ sizes: [Int32], _ budget: Budget, _ layout: TokenLayout, extraKeys: Double = 0
    ) -> [Int32] {
        let order = ranked(mass)
        let count: Int
        switch budget {
        case .mass(let wanted, let least):
            count = max(
                SelectionRule.upToPlusOne(wanted).count(order.lazy.map { mass[Int($0)] }),
                Int(least * Double(mass.count)))
        case .density:
            // As near the wanted number of keys as whole clusters allow.
            let wanted = (budget.keys(of: layout) ?? 0) + extraKeys
            var keys = 0.0
            var taken = 0
            for cluster in order {
                let size = Double(sizes[Int(cluster)])
                if taken > 0, keys + size / 2 > wanted { break }
                keys += size
                taken += 1
            }
            count = taken
        }
        let kept = order.prefix(count)
        return kept.contains { sizes[Int($0)] > 0 } ? Array(kept) : order
    }
}

/// The clusters of one head that have tokens, as blocks of an order.
private struct Groups {
    /// Tokens of every cluster, empty ones included.
    let sizes: [Int32]
    /// Video tokens cluster by cluster, ascending within each.
    let order: [Int32]
    let offsets: [Int32]
    /// The cluster of each block.
    let clusters: [Int]
    /// The block of each cluster; nil where it is empty.
    private let block: [Int32?]

    init(_ clustering: Clustering, _ head: Int) {
        sizes = clustering.sizes[head].integers()
        let labels = clustering.labels[head].integers()
        clusters = sizes.indices.filter { [sizes] in sizes[$0] > 0 }
        var block = [Int32?](repeating: nil, count: sizes.count)
        var next = [Int](repeating: 0, count: sizes.count)
        var offsets: [Int32] = [0]
        for cluster in clusters {
            block[cluster] = Int32(offsets.count - 1)
            next[cluster] = Int(offsets[offsets.count - 1])
            offsets.append(offsets[offsets.count - 1] + sizes[cluster])
        }
        var order = [Int32](repeating: 0, count: labels.count)
        for (token, label) in labels.enumerated() {
            order[next[Int(label)]] = Int32(token)
            next[Int(label)] += 1
        }
        self.order = order
        self.offsets = offsets
        self.block = block
    }

    /// The blocks of some clusters, ascending.
    func blocks(_ clusters: [Int32]) -> [Int32] {
        clusters.compactMap { block[Int($0)] }.sorted()
    }
}

extension SVG2 {
    private static let queryClusterCount = MethodOption(
        "query-clusters", .automaticInteger(1...4096), default: nil, "clusters of queries")
    private static let keyClusterCount = MethodOption(
        "key-clusters", .automaticInteger(1...16384), default: nil, "clusters of keys")
    private static let topP = MethodOption(
        "top-p", .number(0...1), default: 0.9, "estimated attention mass the kept key clusters exceed")
    private static let leastKeys = MethodOption(
        "least-keys", .number(0...1), default: 0.1, "share of key clusters always kept")
    private static let firstIterationCount = MethodOption(
        "first-iterations", .integer(1...1000), default: 10, "k-means iterations at the first call of a layer")
    private static let stepIterationCount = MethodOption(
        "step-iterations", .integer(1...1000), default: 2, "k-means iterations at later calls")
    private static let clusterInDenseSteps = MethodOption(
        "cluster-in-dense-steps", .onOff, default: true,
        "centroids follow the activations during the dense steps")
    private static let clusterSeed = MethodOption(
        "cluster-seed", .integer(0...Int(Int32.max)), default: 0, "seed of the first centroids")

    static let description = MethodDescription(
        name: name,
        summary: "clusters queries and keys by content and keeps the key clusters with the most estimated mass",
        paper: .init(
            title: "Sparse VideoGen2: Accelerate Video Generation with Sparse Attention via "
                + "Semantic-Aware Permutation",
            arXiv: "2505.18875"),
        options: [
            queryClusterCount, keyClusterCount, topP, leastKeys, firstIterationCount, stepIterationCount,
            clusterInDenseSteps, clusterSeed,
        ] + DenseSchedule.options(steps: .fraction(0.25), layers: 1) + [RestChoice.option],
        presets: [
            .init(
                name: "wan-1.3b", models: MethodDescription.Preset.smallWan,
                source: "ours, after the paper's 100 and 500 clusters", settings: []),
            .init(
                name: "paper", models: [], source: "paper, main table",
                settings: [
                    queryClusterCount(100), keyClusterCount(500), firstIterationCount(50),
                    DenseSchedule.stepsOption(.fraction(0.3)),
                ]),
            .init(
                name: "wan-14b", models: [MethodDescription.Preset.wan14B, MethodDescription.Preset.wanA14B],
                source: "reference code, 81 frames at 720p, 50 steps",
                settings: [
                    queryClusterCount(300), keyClusterCount(1000), firstIterationCount(50),
                    clusterInDenseSteps(false), DenseSchedule.stepsOption(.fraction(0.2)),
                ]),
            .init(
                name: "wan-14b-i2v",
                models: MethodDescription.Preset.wan14BFromPictures + [MethodDescription.Preset.wanA14BFromPictures],
                source: "reference code, image to video at 480p, 40 steps",
                settings: [
                    queryClusterCount(200), keyClusterCount(1000), firstIterationCount(50),
                    DenseSchedule.stepsOption(.fraction(0.2)),
                ]),
            .init(
                name: "ltx", models: MethodDescription.Preset.ltx, source: "ours: clusters by the number of tokens",
                settings: []),
            .init(
                name: "hunyuan-video", models: ["hunyuan-video"],
                source: "reference code, 129 frames at 720p, 50 steps",
                settings: [
                    queryClusterCount(400), keyClusterCount(1000), firstIterationCount(50),
                    DenseSchedule.stepsOption(.fraction(0.1)),
                ]),
            .init(
                name: "hunyuan-video-480p", models: [], source: "reference code, 480p, 50 steps",
                settings: [
                    queryClusterCount(200), keyClusterCount(1000), firstIterationCount(50),
                    DenseSchedule.stepsOption(.fraction(0.04)), DenseSchedule.layersOption(0),
                ]),
            .init(
                name: "cosmos", models: ["cosmos"],
                source: "reference code, 121 frames at 704x1280, 35 steps",
                settings: [
                    queryClusterCount(400), keyClusterCount(1000), firstIterationCount(50),
                    clusterInDenseSteps(false), DenseSchedule.stepsOption(.fraction(0.3)),
                ]),
        ],
        shareOptions: [topP, leastKeys]
    ) { values, density in
        SVG2(
            queryClusters: values[queryClusterCount], keyClusters: values[keyClusterCount],
            budget: density.map { .density($0) } ?? .mass(values[topP], least: values[leastKeys]),
            firstIterations: values[firstIterationCount], stepIterations: values[stepIterationCount],
            observesDenseSteps: values[clusterInDenseSteps], seed: UInt64(values[clusterSeed]))
    }
}
