import Glibc
import VditFiles
import VditTensor

/// The numbered PNG files of a directory, in order and without gaps.
final class SequenceReader {
    let info: VideoInfo
    private let paths: [String]
    private var position = 0

    convenience init(pattern path: String) throws(MediaError) {
        let pattern = try SequencePattern(path: path)
        let numbered = try sortedNames(in: pattern.directory).compactMap { name in
            pattern.number(of: name).map { (number: $0, name: name) }
        }
        try self.init(path, pattern.directory, numbered)
    }

    convenience init(directory: String) throws(MediaError) {
        let names = try sortedNames(in: directory).filter {
            !$0.hasPrefix(".") && $0.lowercased().hasSuffix(".png")
        }
        var stem: (Substring, Substring)?
        var numbered: [(number: Int, name: String)] = []
        for name in names {
            let end = name.lastIndex(where: \.isASCIIDigit).map { name.index(after: $0) } ?? name.startIndex
            let digits = name[..<end].reversed().prefix(while: \.isASCIIDigit).count
            let start = name.index(end, offsetBy: -digits)
            let around = (name[..<start], name[end...])
            guard let number = Int(name[start..<end]), stem.map({ $0 == around }) ?? true else {
                throw .malformed(
                    path: FilePath.joined(directory, name), found: "another name pattern",
                    expected: "only the numbered frames of one sequence")
            }
            stem = around
            numbered.append((number, name))
        }
        try self.init(directory, directory, numbered)
    }

    private init(
        _ path: String, _ directory: String, _ numbered: [(number: Int, name: String)]
    ) throws(MediaError) {
        let sorted = numbered.sorted { $0.number < $1.number }
        guard let first = sorted.first else {
            throw .inaccessible(path: path, reason: "no frames of that name", kind: .missingInput)
        }
        for (index, frame) in sorted.enumerated() where frame.number != first.number + index {
            throw .malformed(
                path: path, found: "frame \(frame.number) after frame \(first.number + index - 1)",
                expected: "consecutive frames")
        }
        paths = sorted.map { FilePath.joined(directory, $0.name) }
        let picture = try PNG.read(paths[0])
        let depth = picture.samples.dtype.byteCount * 8
        let isGray = picture.samples.shape[2] == 1
        info = VideoInfo(
            path: path, width: picture.samples.shape[1], height: picture.samples.shape[0], frameRate: nil,
            container: "png sequence", codec: "png",
            pixelFormat: isGray ? "gray\(depth)" : "rgb\(3 * depth)",
            bitDepth: depth, matrix: nil, primaries: nil, transfer: nil, range: nil, assumedMatrix: nil,
            hasSubsampledChroma: false, hadAlpha: picture.hadAlpha, metadata: picture.text)
    }

    func next() throws(MediaError) -> VideoFrame? {
        if position == paths.count { return nil }
        let frame = try PNG.read(paths[position]).frame
        if frame.width != info.width || frame.height != info.height {
            throw .malformed(
                path: paths[position], found: "\(frame.width)x\(frame.height)",
                expected: "\(info.width)x\(info.height) as the first frame")
        }
        position += 1
        return frame
    }
}

extension Character {
    fileprivate var isASCIIDigit: Bool { isASCII && isNumber }
}

/// The names in a directory, sorted; hidden ones included.
func sortedNames(in directory: String) throws(MediaError) -> [String] {
    guard let names = FilePath.names(in: directory) else {
        throw .system(directory, errno: errno, missing: .missingInput)
    }
    return names.sorted()
}
