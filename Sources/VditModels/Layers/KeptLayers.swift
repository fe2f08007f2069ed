import Synchronization
import VditTensor

/// A transformer's blocks: packed once, or made anew for every call from what is kept of them (`LayerKeeping`).
final class KeptLayers<Layer: Sendable>: Sendable {
    let count: Int
    private let source: WeightLoader
    private let make: @Sendable (WeightLoader, Int) throws(TensorError) -> Layer
    /// Empty where they are made anew.
    let packed: [Layer]
    /// The next one, on its way.
    private let next = Mutex<(index: Int, layer: Ahead<Layer>)?>(nil)

    init(
        _ weights: any WeightSource, _ compute: ComputeContext, count: Int,
        make: @escaping @Sendable (WeightLoader, Int) throws(TensorError) -> Layer
    ) throws(TensorError) {
        (self.count, self.make) = (count, make)
        let source = WeightLoader(
            source: compute.keeping.type.map { KeptWeights(weights, as: $0) } ?? weights, compute: compute)
        self.source = source
        let packed = ResultSlots<Layer>(count: count)
        if compute.keeping == .packed {
            // Begun in their order, which is mostly that of the file.
            try compute.pool.run(count) { (index, _) throws(TensorError) in
                packed[index] = try make(source.ofBlock(index, of: count), index)
            }
        }
        self.packed = packed.all
    }

    /// What a layer is made of.
    func loader(_ index: Int) -> WeightLoader { source.ofBlock(index, of: count) }

    /// One of a call that takes them in order: where they are made anew, the one after it is begun.
    func layer(_ index: Int) throws(TensorError) -> Layer {
        if !packed.isEmpty { return packed[index] }
        let begun = next.withLock { next in
            defer { next = nil }
            return next
        }
        let made = begun?.index == index ? try begun?.layer.value() : nil
        if index + 1 < count {
            let (make, loader) = (make, loader(index + 1))
            next.withLock { $0 = (index + 1, Ahead { () throws(TensorError) in try make(loader, index + 1) }) }
        }
        if let made { return made }
        return try make(loader(index), index)
    }
}
