import Glibc
import VditFiles
import VditTensor

/// A name such as `frames/%05d.png`: one number, decimal, zero-padded or not.
struct SequencePattern {
    let directory: String
    private let prefix: String
    private let digits: Int?
    private let suffix: String

    /// - Throws: `MediaError.invalid` unless the file name has exactly one `%d` or `%0Nd` (`%%` is a percent sign).
    init(path: String) throws(MediaError) {
        let name: String
        (directory, name) = FilePath.split(path)
        let invalid = MediaError.invalid(
            "output pattern \(name)", found: "no single frame number",
            expected: "exactly one %d or %0Nd, N from 1 to 9, such as %05d.png", kind: .usage)
        var parts = [""]
        var digits: Int?
        var rest = Substring(name)
        while let percent = rest.firstIndex(of: "%") {
            parts[parts.count - 1] += rest[..<percent]
            rest = rest[rest.index(after: percent)...]
            if rest.first == "%" {
                parts[parts.count - 1] += "%"
                rest = rest.dropFirst()
                continue
            }
            if rest.first == "0", let width = rest.dropFirst().first?.wholeNumberValue, width > 0 {
                digits = width
                rest = rest.dropFirst(2)
            }
            guard rest.first == "d", parts.count == 1 else { throw invalid }
            rest = rest.dropFirst()
            parts.append("")
        }
        parts[parts.count - 1] += rest
        guard parts.count == 2 else { throw invalid }
        prefix = parts[0]
        suffix = parts[1]
        self.digits = digits
    }

    func name(_ frame: Int) -> String {
        let number = String(frame)
        return prefix + String(repeating: "0", count: max(0, (digits ?? 0) - number.count)) + number + suffix
    }

    /// The frame number a file name stands for, if it is one this pattern makes.
    func number(of name: String) -> Int? {
        guard name.count > prefix.count + suffix.count, name.hasPrefix(prefix), name.hasSuffix(suffix),
            let number = Int(name.dropFirst(prefix.count).dropLast(suffix.count)), number >= 0
        else { return nil }
        return self.name(number) == name ? number : nil
    }

    /// Refuses what would not work for this many frames; returns the frames of an older sequence.
    func check(_ plan: VideoPlan) throws(MediaError) -> [String] {
        if let digits, String(plan.frameCount - 1).count > digits {
            throw .invalid(
                "output pattern \(plan.path)", found: "\(digits) digits for \(plan.frameCount) frames",
                expected: "%0\(String(plan.frameCount - 1).count)d", kind: .usage)
        }
        // The directory itself may be missing: it is ours to make, its parent is not.
        let isNew = !FilePath.isTaken(directory)
        let probe = isNew ? directory : FilePath.joined(directory, name(0))
        try MediaError.files { () throws(FileError) in try AtomicFile.check(probe, existing: .replace) }
        if isNew { return [] }
        let old = try sortedNames(in: directory).filter { number(of: $0) != nil }
        if let first = old.first, plan.options.existing == .refuse {
            throw .inaccessible(
                path: FilePath.joined(directory, first),
                reason: "exists already (\(old.count) frames of this pattern); 'overwrite' replaces them",
                kind: .cannotCreate)
        }
        return old
    }
}

/// Frames to numbered PNG files, counted from 0.
///
/// They are collected in a hidden directory beside their place and moved one by one at the end, so a clip
/// that was not finished leaves no frame. Replacing an older sequence removes all its frames, also those
/// past the new end. A missing last directory is made.
final class SequenceSink: FrameSink {
    private let plan: VideoPlan
    private let pattern: SequencePattern
    private let temporary: String
    private let madeDirectory: Bool
    private var written = 0
    private var moved = 0

    init(_ plan: VideoPlan) throws(MediaError) {
        self.plan = plan
        pattern = try SequencePattern(path: plan.path)
        _ = try pattern.check(plan)
        madeDirectory = mkdir(pattern.directory, 0o777) == 0
        if !madeDirectory, errno != EEXIST {
            throw .system(pattern.directory, errno: errno, missing: .cannotCreate)
        }
        temporary = AtomicFile.freshTemporaryPath(for: plan.path)
        if mkdir(temporary, 0o777) != 0 {
            let code = errno
            if madeDirectory { rmdir(pattern.directory) }
            throw .system(temporary, errno: code, missing: .cannotCreate)
        }
    }

    deinit {
        PartFile.remove(temporary)
        if madeDirectory, moved == 0 { rmdir(pattern.directory) }
    }

    func write(_ frame: VideoFrame) throws(MediaError) {
        let name = pattern.name(written)
        written += 1
        try PNG.writeInPlace(
            frame.pixels, text: plan.options.metadata, to: FilePath.joined(temporary, name),
            named: FilePath.joined(pattern.directory, name))
    }

    func finish() throws(MediaError) {
        let kept = try sortedNames(in: temporary)
        if kept.count != written {
            throw .malformed(path: plan.path, found: "\(kept.count) frames on disk", expected: "\(written)")
        }
        let old = try pattern.check(plan)
        while moved < written {
            let name = pattern.name(moved)
            let target = FilePath.joined(pattern.directory, name)
            try MediaError.files { () throws(FileError) in
                try AtomicFile.commit(
                    temporary: FilePath.joined(temporary, name), to: target, existing: plan.options.existing)
            }
            moved += 1
        }
        if plan.options.existing != .replace { return }
        for name in old where pattern.number(of: name).map({ $0 >= written }) ?? false {
            unlink(FilePath.joined(pattern.directory, name))
        }
    }
}
