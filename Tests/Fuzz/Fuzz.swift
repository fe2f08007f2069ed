import Foundation
import TestSupport
import VDiT

// libFuzzer on the readers: an input is one byte that says the kind of file (modulo their number), then the file.
//
// `make fuzz-guided` builds and runs it. The first argument without a dash is the corpus folder, as for any fuzzer of
// its kind; a good file of every kind is put there first.

private let folder = try? TemporaryDirectory()

@_cdecl("LLVMFuzzerInitialize")
public func prepare(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>>>
) -> CInt {
    let given = (1..<Int(count.pointee)).map { String(cString: arguments.pointee[$0]) }
    guard let folder else { fatalError("no temporary folder") }
    guard let corpus = given.first(where: { !$0.hasPrefix("-") }) else { return 0 }
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: corpus, isDirectory: &isFolder), isFolder.boolValue else { return 0 }
    for (index, kind) in FileKind.allCases.enumerated() {
        do {
            let path = folder.path("example")
            try kind.write(to: path)
            let bytes = Data([UInt8(index)]) + (try Data(contentsOf: URL(fileURLWithPath: path)))
            try bytes.write(to: URL(fileURLWithPath: "\(corpus)/example-\(kind)"))
        } catch {
            fatalError("example of \(kind): \(error)")
        }
    }
    return 0
}

@_cdecl("LLVMFuzzerTestOneInput")
public func read(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 0, let folder else { return 0 }
    let kinds = FileKind.allCases
    let kind = kinds[Int(bytes[0]) % kinds.count]
    let path = folder.path("input")
    do {
        try Data(bytes: bytes + 1, count: count - 1).write(to: URL(fileURLWithPath: path))
    } catch {
        fatalError("\(error)")
    }
    if case .wrong(let error) = kind.verdict(on: path) { fatalError("\(kind): \(error)") }
    return 0
}
