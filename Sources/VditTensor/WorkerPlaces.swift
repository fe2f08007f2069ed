import VditFiles

/// Where the workers of a pool run and their memory lies: what `--numa` asks for.
///
/// A worker is held to the processors of a node, consecutive workers to the same one, as many to each as it has
/// processors for. Pages that a worker keeps to itself are on its node; pages that all share, in turn on every node
/// with workers, as any worker may take any item. Where only one node has workers, pages lie on it by being touched
/// there. With one node nothing is done.
public struct WorkerPlaces: Sendable, Equatable {
    /// Of each worker; empty where there is one node.
    public let nodes: [MemoryNode]
    /// Those that hold shared pages in turn; empty where pages lie wherever they are touched first.
    public let sharing: [MemoryNode]

    /// - Parameter nodes: those that may be used; the machine's unless a test makes some up.
    public init(workers: Int, nodes: [MemoryNode] = MemoryNode.usable()) {
        let processors = nodes.flatMap { node in node.processors.map { _ in node } }
        self.nodes = nodes.count < 2 ? [] : (0..<workers).map { processors[$0 * processors.count / workers] }
        let used = self.nodes.uniqued
        sharing = used.count < 2 || !MemoryPolicy.isAllowed ? [] : used
    }

    /// Whether pages a worker keeps to itself need to be told apart from shared ones.
    var keepsScratchLocal: Bool { !sharing.isEmpty }

    /// Runs something as a worker. The thread is afterwards held to what it was, and so is its memory.
    func asWorker<R, E: Error>(_ worker: Int, _ body: () throws(E) -> R) throws(E) -> R {
        guard nodes.indices.contains(worker) else { return try body() }
        let affinity = Affinity.current
        let policy = MemoryPolicy.current
        Affinity.hold(to: nodes[worker].processors)
        if !sharing.isEmpty { MemoryPolicy.interleaved(sharing.map(\.number)).apply() }
        defer {
            if !sharing.isEmpty { policy?.apply() }
            Affinity.hold(to: affinity)
        }
        return try body()
    }
}

extension WorkerPlaces: CustomStringConvertible {
    public var description: String {
        if nodes.isEmpty { return "numa: has no effect, as there is one memory node that this process may use" }
        let used = nodes.uniqued
        let threads = used.map { node in "\(nodes.count { $0 == node }) on \(node)" }.joined(separator: ", ")
        let memory =
            used.count < 2 ? "memory where they touch it"
            : sharing.isEmpty ? "memory where it is touched first, as the system refuses memory policies"
            : "memory that they share in turn on all"
        return "numa: threads are held to their nodes, \(threads); \(memory)"
    }
}
