import CVditKernels
import Glibc

/// The CPU's model, as it calls itself.
public let processorName: String = {
    var name = [CChar](repeating: 0, count: 64)
    vdit_cpu_name(&name, Int64(name.count))
    let words = String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self).split(separator: " ")
    return words.isEmpty ? "unknown CPU" : words.joined(separator: " ")
}()

/// An instruction set the C kernels are written for. Each includes those before it.
public enum InstructionSet: Int, Sendable, CaseIterable, Comparable, CustomStringConvertible {
    case scalar, avx2, avx512, avx512bf16, amx

    var isa: vdit_isa { vdit_isa(UInt32(rawValue)) }

    public var description: String { String(cString: vdit_isa_name(isa)) }

    /// Whether this CPU has it and the operating system saves its registers.
    public var isSupported: Bool { vdit_isa_supported(isa) != 0 }

    public static var supported: [InstructionSet] { allCases.filter(\.isSupported) }

    /// The best supported set, or the one `VDIT_ISA` names.
    ///
    /// - Throws: `TensorError.environment` when `VDIT_ISA` names an unknown or unsupported set.
    public static func chosen() throws(TensorError) -> InstructionSet {
        guard let value = getenv("VDIT_ISA") else { return supported.max() ?? .scalar }
        let name = String(cString: value)
        guard let set = supported.first(where: { $0.description == name }) else {
            throw .environment(
                name: "VDIT_ISA", found: name,
                expected: "one this CPU supports: "
                    + supported.map(\.description).joined(separator: ", "))
        }
        return set
    }

    public static func < (a: InstructionSet, b: InstructionSet) -> Bool { a.rawValue < b.rawValue }
}
