import CVditKernels

/// On which nodes pages lie that the calling thread is the first to touch.
public struct MemoryPolicy {
    private var policy: vdit_memory_policy

    /// The thread's; nil where the system has none, or does not let a process know, as in some containers.
    static var current: MemoryPolicy? {
        var policy = vdit_memory_policy()
        return vdit_get_memory_policy(&policy) == 0 ? MemoryPolicy(policy: policy) : nil
    }

    /// In turn on some nodes.
    static func interleaved(_ nodes: [Int]) -> MemoryPolicy {
        let numbers = nodes.filter { $0 < Int(VDIT_MEMORY_NODES) }.map(Int64.init)
        return MemoryPolicy(policy: vdit_interleaved_memory(numbers, Int64(numbers.count)))
    }

    /// Gives it to the thread; false where the system refuses, and pages go on to lie where they are touched.
    @discardableResult func apply() -> Bool {
        withUnsafePointer(to: policy) { vdit_set_memory_policy($0) == 0 }
    }

    /// Whether a thread may choose.
    public static var isAllowed: Bool { current?.apply() ?? false }
}
