import COneDNN

/// Makes oneDNN run on the calling thread alone: `WorkPool` is the one pool of the process.
func serialNumericLibraries() { vdit_dnnl_serial() }

/// Versions of the numeric libraries in use, for `vdit doctor` and run records.
public var numericLibraryVersions: [String: String] {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 32) { text in
        vdit_dnnl_version(text.baseAddress, 32)
        return ["oneDNN": String(cString: text.baseAddress!)]
    }
}
