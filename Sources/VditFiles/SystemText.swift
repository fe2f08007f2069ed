import Glibc

/// The lines of a small text file of the kernel's; none where it cannot be read.
package func systemLines(_ path: String) -> [Substring] {
    guard let file = path.withPath({ fopen($0, "r") }) else { return [] }
    defer { fclose(file) }
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    let count = fread(&buffer, 1, buffer.count, file)
    return String(decoding: buffer[..<count], as: UTF8.self).split(separator: "\n")
}

/// Numbers of processors or memory nodes as the kernel lists them: `0-3,8`.
package enum NumberList {
    /// What a machine's numbers stay below.
    private static let limit = 1 << 16

    /// Ascending; nil for text that is no such list.
    package static func read(_ text: some StringProtocol) -> [Int]? {
        var numbers: [Int] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: !text.contains(",")) {
            let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
            guard ends.count <= 2, let first = ends[0], let last = ends[ends.count - 1], first <= last,
                first > numbers.last ?? -1, last < limit
            else { return nil }
            numbers += first...last
        }
        return numbers
    }

    /// The numbers, which ascend, as `read` takes them.
    package static func written(_ numbers: [Int]) -> String {
        var runs: [ClosedRange<Int>] = []
        for number in numbers {
            if let last = runs.last, last.upperBound == number - 1 {
                runs[runs.count - 1] = last.lowerBound...number
            } else {
                runs.append(number...number)
            }
        }
        return runs.map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
            .joined(separator: ",")
    }
}
