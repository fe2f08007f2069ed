import Foundation
import Testing
import TestSupport
import VDiT

/// The C kernels of planning compute what plain loops do, on every instruction set.
@Suite struct PlanningKernelParity {
    @Test(arguments: InstructionSet.supported)
    func largestScoreIsFoundAndTiesGoToTheLowestIndex(set: InstructionSet) {
        var random = SeededRandom.fresh()
        for columns in [1, 2, 15, 16, 17, 31, 32, 33, 100, 500] {
            // Few distinct values: most rows have ties.
            var values = (0..<40 * columns).map { _ in Float(Int.random(in: -3...3, using: &random)) }
            for i in 0..<columns { values[i] = -.infinity }
            let found = Tensor(.i32, [40])
            PlanningKernels(set).argmax(Tensor(values, shape: [40, columns]), into: found)
            let expected = (0..<40).map { row -> Int32 in
                let scores = values[row * columns..<(row + 1) * columns]
                return Int32(scores.firstIndex(of: scores.max()!)! - row * columns)
            }
            #expect(found.withBytes { Array($0.bindMemory(to: Int32.self)) } == expected, "\(columns), \(random.seed)")
        }
    }

    @Test(arguments: InstructionSet.supported, [DType.f32, .bf16])
    func meansAndSumsAreThoseOfTheRows(set: InstructionSet, dtype: DType) {
        var random = SeededRandom.fresh()
        for columns in [1, 8, 40, 128] {
            let x = AttentionCase.normal([50, columns], dtype, &random)
            let values = x.floats()
            let order = (0..<Int32(50)).shuffled(using: &random)
            let offsets: [Int32] = [0, 1, 7, 40, 50]
            let means = Tensor(.f32, [4, columns])
            PlanningKernels(set).blockMeans(x, order: order, offsets: offsets, into: means)
            let labels = Tensor(.i32, [50])
            let sums = Tensor(.f32, [4, columns])
            let sizes = Tensor(.i32, [4])
            PlanningKernels(set).clusterSums(x, labels: labels, into: sums, sizes: sizes)
            #expect(sizes.withBytes { Array($0.bindMemory(to: Int32.self)) } == [50, 0, 0, 0])
            for column in 0..<columns {
                for block in 0..<4 {
                    let rows = order[Int(offsets[block])..<Int(offsets[block + 1])]
                    let mean = rows.reduce(0.0) { $0 + Double(values[Int($1) * columns + column]) }
                        / Double(rows.count)
                    #expect(abs(Double(means.floats()[block * columns + column]) - mean) < 1e-5)
                }
                let sum = (0..<50).reduce(0.0) { $0 + Double(values[$1 * columns + column]) }
                #expect(abs(Double(sums.floats()[column]) - sum) < 1e-4, "seed \(random.seed)")
            }
        }
    }

    @Test(arguments: InstructionSet.supported)
    func weightedSoftmaxIsThatOfFloat64EvenForExtremeScores(set: InstructionSet) {
        var random = SeededRandom.fresh()
        let columns = 37
        var values = (0..<3 * columns).map { _ in random.normal() * 5 }
        for i in 0..<columns { values[i] *= 2000 }
        let weights = (0..<columns).map { _ in Float(Int.random(in: 0...9, using: &random)) }
        let found = Tensor(values, shape: [3, columns])
        PlanningKernels(set).softmax(found, scale: 0.25, weights: weights)
        for row in 0..<3 {
            let scores = values[row * columns..<(row + 1) * columns].map { Double($0) * 0.25 }
            let terms = scores.indices.map { Double(weights[$0]) * exp(scores[$0] - scores.max()!) }
            let sum = max(terms.reduce(0, +), 1e-12)
            for column in 0..<columns {
                #expect(
                    abs(Double(found.floats()[row * columns + column]) - terms[column] / sum) < 1e-6,
                    "seed \(random.seed)")
            }
        }
    }

    @Test(arguments: InstructionSet.supported, [DType.f32, .bf16])
    func aPartOfARowIsAddedToOthersWithTheSameBits(set: InstructionSet, dtype: DType) {
        var random = SeededRandom.fresh()
        for columns in [1, 8, 40, 129] {
            let x = AttentionCase.normal([columns], dtype, &random)
            let values = AttentionCase.normal([20, columns], .f32, &random)
            let order = (0..<Int32(20)).shuffled(using: &random)
            let (before, added) = (values.floats(), x.floats())
            PlanningKernels(set).add(x, times: 0.3, order: order, positions: 3..<12, to: values)
            let chosen = Set(order[3..<12])
            for (place, found) in values.floats().enumerated() {
                let (row, column) = (Int32(place / columns), place % columns)
                let more: Float = 0.3 * added[column]
                #expect(found == (chosen.contains(row) ? before[place] + more : before[place]), "seed \(random.seed)")
            }
        }
    }

    @Test(arguments: InstructionSet.supported, [DType.f32, .bf16])
    func rescalingUndoesTheResidual(set: InstructionSet, dtype: DType) {
        var random = SeededRandom.fresh()
        let kernels = PlanningKernels(set)
        let full = AttentionCase.normal([9, 3, 24], .f32, &random)
        let sparse = AttentionCase.normal([9, 3, 24], .f32, &random)
        let ratio = Tensor((0..<27).map { _ in Float.random(in: 0...1, using: &random) }, shape: [3, 9])
        let residual = Tensor(dtype, [9, 3, 24])
        for tokens in [0..<4, 4..<9] {
            kernels.residual(full: full, sparse: sparse, ratio: ratio, tokens: tokens, into: residual)
        }
        let (a, b, c, r) = (full.floats(), sparse.floats(), ratio.floats(), residual.floats())
        for token in 0..<9 {
            for head in 0..<3 {
                for i in 0..<24 {
                    let at = (token * 3 + head) * 24 + i
                    #expect(abs(r[at] - (a[at] - c[head * 9 + token] * b[at])) < (dtype == .f32 ? 1e-6 : 0.02))
                }
            }
        }
        kernels.rescale(sparse, ratio: ratio, residual: residual, tokens: 0..<9)
        #expect(MethodCase.distance(sparse.floats(), a) < (dtype == .f32 ? 1e-6 : 0.02), "seed \(random.seed)")
    }
}
