import VditFiles

/// A part of the machine's memory, with the processors near it that this process may use.
public struct MemoryNode: Sendable, Equatable, Codable, CustomStringConvertible {
    /// The system's.
    public let number: Int
    /// Ascending, at least one.
    public let processors: [Int]

    public init(number: Int, processors: [Int]) { (self.number, self.processors) = (number, processors) }

    public var description: String { "node \(number) (processors \(NumberList.written(processors)))" }

    /// The nodes whose processors may be used, ascending: one where the machine has one, or does not say clearly which
    /// it has.
    ///
    /// - Parameters:
    ///   - root: a folder in whose `sys` to look.
    ///   - allowed: processors that may be used.
    public static func usable(root: String = "", of allowed: [Int] = Affinity.current) -> [MemoryNode] {
        let one = [MemoryNode(number: 0, processors: allowed)]
        let folder = "\(root)/sys/devices/system/node"
        guard let numbers = NumberList.read(systemLines("\(folder)/online").first ?? "") else { return one }
        var left = Set(allowed)
        var nodes: [MemoryNode] = []
        for number in numbers {
            let list = systemLines("\(folder)/node\(number)/cpulist").first ?? ""
            guard let near = NumberList.read(list) else { return one }
            let processors = near.filter { left.remove($0) != nil }
            if !processors.isEmpty { nodes.append(MemoryNode(number: number, processors: processors)) }
        }
        return left.isEmpty && !nodes.isEmpty ? nodes : one
    }
}
