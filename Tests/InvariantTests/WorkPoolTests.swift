import Synchronization
import Testing
import VDiT

struct WorkPoolTests {
    /// A process makes one pool after the other, a batch's for every model: their threads must not stay.
    @Test func aPoolThatNobodyHoldsIsGoneWithItsThreads() {
        weak var left: WorkPool?
        do {
            let pool = WorkPool(threads: 3)
            let sum = Atomic<Int>(0)
            pool.run(100) { item, _ in sum.wrappingAdd(item, ordering: .relaxed) }
            #expect(sum.load(ordering: .relaxed) == 4950)
            left = pool
        }
        #expect(left == nil)
    }
}
