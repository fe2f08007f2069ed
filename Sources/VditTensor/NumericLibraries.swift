import COneDNN

/// Makes oneDNN run on the calling thread alone: `WorkPool` is the one pool of the process.
func serialNumericLibraries() { vdit_dnnl_serial() }

/// Holds oneDNN's generated code to the process's instruction set (`InstructionSet.chosen`), before the first
/// product is made. oneDNN has one limit for the whole process, so a context with kernels of another set,
/// as tests make, leaves it alone.
func limitNumericLibraries() { _ = limited }

private let limited: Void = {
    if let set = try? InstructionSet.chosen() { vdit_dnnl_limit(Int32(set.rawValue)) }
}()

/// Versions of the numeric libraries in use, for `vdit doctor` and run records.
public var numericLibraryVersions: [String: String] {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 32) { text in
        vdit_dnnl_version(text.baseAddress, 32)
        return ["oneDNN": String(cString: text.baseAddress!)]
    }
}
