import Foundation
import TestSupport
import Testing
import VDiT

/// `.npy` arrays: what NumPy writes is read, anything else is named and refused.
@Suite struct NpyTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    func file(_ header: String, _ data: [UInt8], version: UInt8 = 1) throws -> String {
        let length = header.utf8.count
        let size = version == 1 ? 2 : 4
        let prefix = [0x93] + Array("NUMPY".utf8) + [version, 0]
        return try directory.write(
            prefix + (0..<size).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) } + Array(header.utf8) + data,
            "\(UUID().uuidString).npy")
    }

    static let twoFloats: [UInt8] = [0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0]

    @Test(arguments: [1, 2, 3] as [UInt8])
    func everyVersionIsRead(version: UInt8) throws {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }" + "   \n"
        let tensor = try Npy.read(file(header, Self.twoFloats, version: version))
        #expect(tensor.dtype == .f32 && tensor.shape == [1, 2] && tensor.floats() == [1, -2.5])
    }

    @Test(arguments: [
        ("{'descr':'<f4','fortran_order':False,'shape':(2,)}", [2]),
        ("{\"shape\": (2,), \"descr\": \"<f4\", \"fortran_order\": False, }", [2]),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1,), }", [2, 1]),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (), }", []),
        ("{'descr': '<f2', 'fortran_order': False, 'shape': (2, 2), }", [2, 2]),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (8,), }", [8]),
    ])
    func formsOfTheHeaderAreRead(header: String, shape: [Int]) throws {
        #expect(try Npy.read(file(header, Self.twoFloats)).shape == shape)
    }

    @Test(arguments: [
        ("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2), }", "ascontiguousarray"),
        ("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", "big-endian"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", "Python objects"),
        ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", "structured"),
        ("{'descr': '<U2', 'fortran_order': False, 'shape': (1,), }", "float32"),
        ("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", "float32"),
        ("{'descr': '<f4', 'fortran_order': 0, 'shape': (2,), }", "True or False"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2), }", "comma"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': 2, }", "'('"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", "number"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2.0,), }", "comma"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2L,), }", "comma"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775808,), }", "number"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", "63 bits"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,2), }", "8 axes"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", "8 bytes"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", "8 bytes"),
        ("{'descr': '<f4', 'fortran_order': False, }", "shape"),
        ("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", "once"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}", "once"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), } junk", "end"),
        ("{'descr': __import__('os').system('true'), 'fortran_order': False, 'shape': (2,), }", "string"),
        ("{'descr': '<f4\\x00', 'fortran_order': False, 'shape': (2,), }", "string"),
        ("{'descr': '<f4", "string"), ("{", "string"), ("", "'{'"), ("[]", "'{'"),
    ])
    func otherHeadersAreRefusedByName(header: String, part: String) throws {
        let path = try file(header, Self.twoFloats)
        do throws(FileError) {
            _ = try Npy.read(path)
            Issue.record("\(header) was accepted")
        } catch {
            #expect(error.kind == .badData)
            #expect(error.description.contains(path) && error.description.contains(part), "\(error)")
        }
    }

    @Test func everyTruncationIsRefused() throws {
        let path = try file("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", Self.twoFloats)
        let whole = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        for length in whole.indices {
            let cut = try directory.write(Array(whole[..<length]), "cut.npy")
            #expect(throws: FileError.self, "\(length) bytes") { try Npy.read(cut) }
        }
    }

    @Test func otherMagicAndVersionsAreRefused() throws {
        for start in [[0x93] + Array("NUMPX".utf8) + [1, 0], [0x93] + Array("NUMPY".utf8) + [4, 0]] {
            let path = try directory.write(start + [UInt8](repeating: 0x20, count: 200), "bad.npy")
            #expect(throws: FileError.self) { try Npy.read(path) }
        }
    }

    @Test(arguments: [DType.f32, .f16, .f64, .u8, .bool, .i64], [[], [3], [2, 3], [0, 4]])
    func writtenArraysAreReadBack(dtype: DType, shape: [Int]) throws {
        let tensor = Tensor(dtype, shape)
        let path = directory.path("a.npy")
        try Npy.write(tensor, to: path, existing: .refuse)
        let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        #expect((bytes.count - tensor.byteCount) % 64 == 0)
        let read = try Npy.read(path)
        #expect(read.dtype == dtype && read.shape == shape)
        #expect(read.withBytes { Array($0) } == tensor.withBytes { Array($0) })
    }

    @Test func aTypeNumPyLacksIsNotWritten() {
        #expect(throws: TensorError.self) {
            try Npy.write(Tensor(.bf16, [2]), to: directory.path("a.npy"), existing: .refuse)
        }
        #expect(directory.contents == [])
    }
}
