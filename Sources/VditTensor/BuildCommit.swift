import CVditKernels

/// The commit this program was built from, a + behind it where the source tree had changes; nil where nobody said.
public let buildCommit: String? = {
    let commit = String(cString: vdit_commit())
    return commit.isEmpty ? nil : commit
}()
