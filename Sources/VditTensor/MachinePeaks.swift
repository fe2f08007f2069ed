import CVditKernels
import Synchronization

extension MachinePeaks {
    /// Measures for about a second, keeping the best of several rounds: a peak is what the machine can do.
    public static func measure(pool: WorkPool, instructionSet: InstructionSet) -> MachinePeaks {
        func teraflops(_ loop: (@convention(c) (Int64) -> Double)?) -> Double? {
            guard let loop else { return nil }
            // Calibrated to rounds of some 30 ms.
            let probe = ContinuousClock().measure { _ = loop(100_000) }
            let rounds = Int64(max(1, 3_000 / max(probe / .seconds(1), 1e-6)))
            return best(of: 5) {
                let operations = Mutex(0.0)
                pool.run(pool.threads) { _, _ in
                    let done = loop(rounds)
                    operations.withLock { $0 += done }
                }
                return operations.withLock { $0 }
            } / 1e12
        }
        return MachinePeaks(
            threads: pool.threads, instructionSet: "\(instructionSet)",
            fp32: teraflops(vdit_peak_multiply_add(instructionSet.isa, VDIT_F32)),
            bf16: teraflops(vdit_peak_multiply_add(instructionSet.isa, VDIT_BF16)),
            int8: teraflops(vdit_peak_multiply_add_int8(instructionSet.isa)), readBandwidth: readBandwidth(pool: pool))
    }

    /// What all threads of a pool together read of memory at most, in GB/s; takes some tens of milliseconds.
    public static func readBandwidth(pool: WorkPool) -> Double {
        // Beyond the caches the threads share, and no more than 4 GiB of it.
        let share = min(64 << 20, (4 << 30) / pool.threads)
        let memory = Tensor(.u8, [pool.threads, share])
        // Zero pages that were never written share one page of memory: write them.
        pool.run(pool.threads) { thread, _ in memory[thread].fill(byte: UInt8(truncatingIfNeeded: thread + 1)) }
        let sums = Mutex<UInt64>(0)
        return best(of: 5) {
            pool.run(pool.threads) { thread, _ in
                let sum = vdit_peak_read(memory[thread].rawPointer, Int64(share))
                sums.withLock { $0 &+= sum }
            }
            return Double(memory.byteCount)
        } / 1e9
    }

    /// The best rate, in units of what `work` returns per second, after one untimed run.
    private static func best(of rounds: Int, _ work: () -> Double) -> Double {
        _ = work()
        var rate = 0.0
        for _ in 0..<rounds {
            let start = ContinuousClock.now
            let amount = work()
            rate = max(rate, amount / start.secondsUntilNow)
        }
        return rate
    }
}
