/// The block mask of Radial attention, over video blocks alone.
///
/// A pair of frames at distance d is visited or not, and if visited keeps a diagonal band whose width halves
/// whenever d doubles; blocks follow from how many of their columns the band fills.
struct RadialMask: Sendable, Equatable {
    /// How blocks that a frame shares with its neighbours are decided.
    enum Edges: String, Sendable, CaseIterable {
        /// By the rows and columns the frame owns, so that no frame loses its borders.
        case own
        /// By the whole block, as the reference does; rows left empty get their near frames.
        case repaired
        /// As the reference does, empty rows included.
        case reference
    }

    struct Shape: Sendable, Equatable {
        var frames: Int
        var tokensPerFrame: Int
        var block: Int
        var edges: Edges
        /// Every query sees all of frame 0.
        var sink: Bool
    }

    /// What the band follows from.
    struct Band: Sendable, Equatable {
        /// Factor of the band's half-width.
        var decay: Double
        /// Frame pairs whose undecayed width is below this are visited only every so many frames.
        var skipBelow: Double = 128
        /// Whether adjacent frames get a band as well, rather than everything.
        var decayNeighbours = false

        static let narrowest = Band(decay: 0, decayNeighbours: true)
    }

    let shape: Shape
    let blocks: Int
    /// `[blocks, blocks]`, rows are queries.
    private(set) var keeps: [Bool]

    init(_ shape: Shape, _ band: Band) {
        self.shape = shape
        let video = shape.frames * shape.tokensPerFrame
        blocks = (video + shape.block - 1) / shape.block
        keeps = [Bool](repeating: false, count: blocks * blocks)
        let tail = video / shape.block
        for block in tail..<max(blocks, tail) {
            for other in 0..<blocks {
                keeps[block * blocks + other] = true
                keeps[other * blocks + block] = true
            }
        }

        var known: [Pair: Pattern] = [:]
        for query in 0..<shape.frames {
            for key in 0..<shape.frames {
                guard let width = halfWidth(query, key, band) else { continue }
                let pair = Pair(
                    width: width, row: query * shape.tokensPerFrame % shape.block,
                    column: key * shape.tokensPerFrame % shape.block)
                let pattern = known[pair] ?? Pattern(shape, pair)
                known[pair] = pattern
                add(pattern, query, key)
            }
        }
        if shape.edges == .repaired { repair() }
    }

    /// The band's half-width between two frames; a whole frame at most, nil where the pair is not visited.
    private func halfWidth(_ query: Int, _ key: Int, _ band: Band) -> Int? {
        let frame = shape.tokensPerFrame
        if shape.sink && key == 0 { return frame }
        let distance = abs(query - key)
        let power = Double(1 << bitLength(frame))
        let length = power / Double(1 << bitLength(distance))
        let near = shape.edges == .own && distance <= 1
        if length < band.skipBelow && !near {
            let period = Int((band.skipBelow / length).rounded(.down))
            if distance % period != 0 { return nil }
        }
        if distance == 0 || (distance == 1 && !band.decayNeighbours) { return frame }
        return Int(min(Double(frame), max(Double(shape.block), length * band.decay)))
    }

    private mutating func add(_ pattern: Pattern, _ query: Int, _ key: Int) {
        let row = query * shape.tokensPerFrame / shape.block
        let column = key * shape.tokensPerFrame / shape.block
        for a in 0..<min(pattern.rows, blocks - row) {
            for b in 0..<min(pattern.columns, blocks - column)
            where pattern.keeps[a * pattern.columns + b] {
                keeps[(row + a) * blocks + column + b] = true
            }
        }
    }

    /// Gives a row without keys every block that the frames in it and their neighbours touch.
    private mutating func repair() {
        let frame = shape.tokensPerFrame
        for row in 0..<blocks where !keeps[row * blocks..<(row + 1) * blocks].contains(true) {
            let first = max(0, row * shape.block / frame - 1)
            let last = min(shape.frames, ((row + 1) * shape.block - 1) / frame + 2)
            for column in first * frame / shape.block...(last * frame - 1) / shape.block {
                keeps[row * blocks + column] = true
            }
        }
    }

    /// Kept key blocks of a query block, ascending.
    func kept(_ row: Int) -> [Int32] {
        (0..<blocks).filter { keeps[row * blocks + $0] }.map(Int32.init)
    }

    /// Query-key token pairs kept.
    var pairs: Int {
        let video = shape.frames * shape.tokensPerFrame
        func size(_ block: Int) -> Int { min(shape.block, video - block * shape.block) }
        return (0..<blocks).reduce(0) { total, row in
            let keys = (0..<blocks).reduce(0) { $0 + (keeps[row * blocks + $1] ? size($1) : 0) }
            return total + keys * size(row)
        }
    }
}

/// What the blocks of a frame pair depend on: the band, and where the frames begin inside their blocks.
private struct Pair: Hashable {
    var width: Int
    var row: Int
    var column: Int
}

/// The blocks one frame pair keeps, counted from the block its first row and column lie in.
private struct Pattern {
    let rows: Int
    let columns: Int
    private(set) var keeps: [Bool]

    init(_ shape: RadialMask.Shape, _ pair: Pair) {
        let frame = shape.tokensPerFrame
        let size = shape.block
        // The reference looks at as many blocks as a frame fills, even where it reaches into one more.
        let whole = (frame - 1) / size + 1
        rows = shape.edges == .own ? (pair.row + frame - 1) / size + 1 : whole
        columns = shape.edges == .own ? (pair.column + frame - 1) / size + 1 : whole
        keeps = []
        keeps.reserveCapacity(rows * columns)
        for a in 0..<rows {
            let query = max(a * size - pair.row, 0)..<min((a + 1) * size - pair.row, frame)
            let height = shape.edges == .own ? query.count : size
            for b in 0..<columns {
                let key = max(b * size - pair.column, 0)..<min((b + 1) * size - pair.column, frame)
                keeps.append(Self.keeps(query, key, width: pair.width, height: height))
            }
        }
    }

    /// More than 60 % of the columns the band touches are filled over a third of the height.
    private static func keeps(
        _ query: Range<Int>, _ key: Range<Int>, width: Int, height: Int
    ) -> Bool {
        let gap = max(key.lowerBound - query.upperBound, query.lowerBound - key.upperBound) + 1
        if gap > width { return false }
        let reach = max(
            key.upperBound - 1 - query.lowerBound, query.upperBound - 1 - key.lowerBound)
        if reach <= width { return 3 * query.count > height }
        var touched = 0
        var filled = 0
        for column in key {
            let count =
                min(query.upperBound - 1, column + width) - max(query.lowerBound, column - width) + 1
            if count > 0 { touched += 1 }
            if 3 * count > height { filled += 1 }
        }
        return 5 * filled > 3 * touched
    }
}

/// Bits of a number: 0, 1, 2, 2, 3, 3, 3, 3, 4 …
private func bitLength(_ value: Int) -> Int { Int.bitWidth - value.leadingZeroBitCount }
