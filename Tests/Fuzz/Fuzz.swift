import Foundation
import TestSupport
import VDiT

// libFuzzer on the readers: an input is one byte that says the kind of file (its number), then the file.
//
// `make fuzz-guided` builds and runs it. The first argument without a dash is the corpus folder, as for any fuzzer of
// its kind; a good file of every kind is put there first.

private let folder = try? TemporaryDirectory()

/// The largest piece of memory asked for since it was last set to 0; libFuzzer runs one input at a time.
private nonisolated(unsafe) let largest: UnsafeMutablePointer<Int> = {
    let place = UnsafeMutablePointer<Int>.allocate(capacity: 1)
    place.pointee = 0
    return place
}()

/// Has the address sanitizer tell of every allocation.
private func watchAllocations() {
    typealias OnAllocation = @convention(c) (UnsafeRawPointer?, Int) -> Void
    typealias OnFree = @convention(c) (UnsafeRawPointer?) -> Void
    typealias Install = @convention(c) (OnAllocation, OnFree) -> CInt
    guard let symbol = dlsym(nil, "__sanitizer_install_malloc_and_free_hooks") else {
        fatalError("no address sanitizer")
    }
    largest.pointee = 0
    _ = unsafeBitCast(symbol, to: Install.self)({ _, count in largest.pointee = max(largest.pointee, count) }, { _ in })
}

@_cdecl("LLVMFuzzerInitialize")
public func prepare(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>>>
) -> CInt {
    let given = (1..<Int(count.pointee)).map { String(cString: arguments.pointee[$0]) }
    guard let folder else { fatalError("no temporary folder") }
    watchAllocations()
    guard let corpus = given.first(where: { !$0.hasPrefix("-") }) else { return 0 }
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: corpus, isDirectory: &isFolder), isFolder.boolValue else { return 0 }
    for kind in FileKind.allCases {
        do {
            let path = folder.path("example-\(kind)")
            try kind.write(to: path)
            let bytes = Data([kind.rawValue]) + (try Data(contentsOf: URL(fileURLWithPath: path)))
            try bytes.write(to: URL(fileURLWithPath: "\(corpus)/example-\(kind)"))
        } catch {
            fatalError("example of \(kind): \(error)")
        }
    }
    return 0
}

@_cdecl("LLVMFuzzerTestOneInput")
public func read(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    // -1: not for the corpus.
    guard count > 0, let folder, let kind = FileKind(rawValue: bytes[0]) else { return -1 }
    let path = folder.path("input")
    do {
        try Data(bytes: bytes + 1, count: count - 1).write(to: URL(fileURLWithPath: path))
    } catch {
        fatalError("\(error)")
    }
    largest.pointee = 0
    let verdict = kind.verdict(on: path)
    let allowed = (1 << 20) + 4 * count
    if case .wrong(let error) = verdict { fatalError("\(kind): \(error)") }
    if !kind.isCompressed, largest.pointee > allowed {
        fatalError("\(kind) of \(count) bytes: \(largest.pointee) bytes of memory at once")
    }
    return 0
}
