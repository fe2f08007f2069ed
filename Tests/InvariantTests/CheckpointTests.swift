import Foundation
import TestSupport
import Testing
import VDiT

/// A checkpoint is complete, checked, and nothing else.
struct CheckpointTests {
    static func example() -> Checkpoint {
        var random = TorchRandom(seed: 1)
        var timing = RunRecord.Timing()
        timing.denoise = 12.3
        timing.perStep = [4.1, 1.0 / 3, 5]
        var history = SchedulerHistory()
        history.tensors = ["output.0": random.normal([2, 1, 3, 3]), "last_sample": random.normal([2, 1, 3, 3])]
        history.numbers = ["outputs": 1, "last_order": 1]
        return Checkpoint(
            completed: 3, latents: random.normal([2, 1, 3, 3]), history: history,
            learned: ["0.conditional.2.centroids": random.normal([4, 8])], timing: timing,
            identity: ["seed": "7", "width": "320"])
    }

    @Test func everythingComesBack() throws {
        let path = NSTemporaryDirectory() + "vdit-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let written = Self.example()
        try written.write(to: path)
        let read = try Checkpoint(path: path)
        #expect(read.completed == 3)
        #expect(read.latents.floats() == written.latents.floats())
        #expect(read.history.numbers == written.history.numbers)
        #expect(read.identity == written.identity && read.timing == written.timing)
        for (name, tensor) in written.history.tensors {
            #expect(read.history.tensors[name]?.floats() == tensor.floats())
        }
        for (name, tensor) in written.learned {
            #expect(read.learned[name]?.floats() == tensor.floats())
        }
    }

    @Test func noFlippedBitAndNoCutIsAccepted() throws {
        let path = NSTemporaryDirectory() + "vdit-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Self.example().write(to: path)
        let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        let url = URL(fileURLWithPath: path)
        // Padding of the header and its own order of keys are not content.
        let headerEnd = 8 + bytes.prefix(8).enumerated().reduce(0) { $0 + Int($1.1) << (8 * $1.0) }
        for position in stride(from: 0, to: bytes.count, by: 7) {
            var damaged = bytes
            damaged[position] ^= 1 << UInt8(position % 8)
            if position < headerEnd, bytes[position] == 0x20 { continue }
            try damaged.write(to: url)
            #expect(throws: (any Error).self, "bit flip at \(position)") { try Checkpoint(path: path) }
        }
        for length in stride(from: 0, to: bytes.count, by: 13) {
            try bytes.prefix(length).write(to: url)
            #expect(throws: (any Error).self, "cut to \(length)") { try Checkpoint(path: path) }
        }
    }
}
