import Foundation
import TestSupport
import Testing

@testable import VditFiles
@testable import VditTensor

/// Reading ahead changes when a file is read, never what is read.
@Suite struct ReadAheadTests {
    @Test func whatFollowsIsReadOnceUntilItIsGivenBack() throws {
        let folder = try TemporaryDirectory()
        let (path, megabyte) = (folder.path("file"), 1 << 20)
        let content = Data((0..<25 * megabyte).lazy.map { UInt8(truncatingIfNeeded: $0 ^ $0 >> 13) })
        try content.write(to: URL(fileURLWithPath: path))
        let map = try FileMap(InputFile(path))
        let ahead = ReadAhead(map)
        func asked() -> Set<Int> { ahead.asked.withLock { $0 } }
        ahead.want(0..<0)
        #expect(asked().isEmpty)
        ahead.want(17 * megabyte..<17 * megabyte + 1)
        #expect(asked() == [2, 3])
        ahead.want(0..<1)
        #expect(asked() == [0, 1, 2, 3])
        // What ends inside a region leaves the rest of it to those who come after.
        ahead.release(megabyte..<3 * megabyte)
        #expect(asked() == [0, 1, 2, 3])
        ahead.release(3 * megabyte..<8 * megabyte)
        #expect(asked() == [1, 2, 3])
        ahead.want(5 * megabyte..<6 * megabyte)
        #expect(asked() == [0, 1, 2, 3])
        let base = try #require(map.base)
        #expect(content.elementsEqual(UnsafeRawBufferPointer(start: base, count: map.byteCount)))
    }

    @Test func rangesBeyondTheFileAreCutAndAnEmptyFileHasNothingToRead() throws {
        let folder = try TemporaryDirectory()
        for count in [0, 1, 5000] {
            let path = folder.path("\(count)")
            try Data(repeating: 7, count: count).write(to: URL(fileURLWithPath: path))
            let map = try FileMap(InputFile(path))
            map.prefetch(0..<1 << 30)
            map.prefetch(1 << 29..<1 << 30)
            map.release(0..<1 << 30)
            #expect((0..<count).allSatisfy { map.base?.load(fromByteOffset: $0, as: UInt8.self) == 7 })
        }
    }
}
