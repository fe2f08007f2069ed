/// The block mask of Radial attention, over video blocks alone.
///
/// A pair of frames at distance d is visited or not, and if visited keeps a diagonal band whose width halves
/// whenever d doubles; blocks follow from how many of their columns the band fills.
struct RadialMask {
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

        /// Blocks of a frame that begins so many tokens inside one. The reference looks at as many as a frame fills,
        /// even where it reaches into one more.
        func blocks(from start: Int) -> Int {
            ((edges == .own ? start : 0) + tokensPerFrame - 1) / block + 1
        }
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
    private let band: Band
    /// Blocks that are whole; what follows is one that is short, and it keeps and is kept by everything.
    private let whole: Int
    private var known: [Pair: Pattern] = [:]

    init(_ shape: Shape, _ band: Band) {
        self.shape = shape
        self.band = band
        let video = shape.frames * shape.tokensPerFrame
        blocks = (video + shape.block - 1) / shape.block
        whole = video / shape.block
    }

    /// Which key blocks a query block keeps. Row by row, as all rows of a long video would take gigabytes.
    private mutating func keeps(_ row: Int) -> [Bool] {
        if row >= whole { return [Bool](repeating: true, count: blocks) }
        var keeps = [Bool](repeating: false, count: blocks)
        if whole < blocks { keeps[whole] = true }
        let (frame, size) = (shape.tokensPerFrame, shape.block)
        // A frame reaches one block further than it fills at most.
        let first = max(0, (row - (frame - 1) / size - 2) * size / frame)
        for query in first...max(first, min(shape.frames - 1, (row + 1) * size / frame)) {
            let own = row - query * frame / size
            guard own >= 0, own < shape.blocks(from: query * frame % size) else { continue }
            for key in 0..<shape.frames {
                guard let width = halfWidth(query, key) else { continue }
                let pair = Pair(width: width, row: query * frame % size, column: key * frame % size)
                let pattern = known[pair] ?? Pattern(shape, pair)
                known[pair] = pattern
                let column = key * frame / size
                for other in 0..<min(pattern.columns, blocks - column)
                where pattern.keeps[own * pattern.columns + other] {
                    keeps[column + other] = true
                }
            }
        }
        if shape.edges == .repaired, !keeps.contains(true) { repair(row, &keeps) }
        return keeps
    }

    /// The band's half-width between two frames; a whole frame at most, nil where the pair is not visited.
    private func halfWidth(_ query: Int, _ key: Int) -> Int? {
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

    /// Gives a row without keys every block that the frames in it and their neighbours touch.
    private func repair(_ row: Int, _ keeps: inout [Bool]) {
        let frame = shape.tokensPerFrame
        let first = max(0, row * shape.block / frame - 1)
        let last = min(shape.frames, ((row + 1) * shape.block - 1) / frame + 2)
        for column in first * frame / shape.block...(last * frame - 1) / shape.block { keeps[column] = true }
    }

    /// Kept key blocks of a query block, ascending.
    mutating func kept(_ row: Int) -> [Int32] {
        let keeps = keeps(row)
        return keeps.indices.filter { keeps[$0] }.map(Int32.init)
    }

    /// Query-key token pairs kept; of masks with more than `exactRows` rows, what evenly spaced rows let expect.
    mutating func pairs() -> Double {
        let video = shape.frames * shape.tokensPerFrame
        func size(_ block: Int) -> Int { min(shape.block, video - block * shape.block) }
        let step = blocks <= Self.exactRows ? 1 : blocks / Self.sampledRows
        var (total, seen) = (0, 0)
        for row in stride(from: step / 2, to: blocks, by: step) {
            let keeps = keeps(row)
            let keys = keeps.indices.reduce(0) { $0 + (keeps[$1] ? size($1) : 0) }
            total += keys * size(row)
            seen += size(row)
        }
        return step == 1 ? Double(total) : Double(total) / Double(seen) * Double(video)
    }

    private static let exactRows = 2048
    private static let sampledRows = 512
}

/// What the blocks of a frame pair depend on: the band, and where the frames begin inside their blocks.
private struct Pair: Hashable {
    var width: Int
    var row: Int
    var column: Int
}

/// The blocks one frame pair keeps, counted from the block its first row and column lie in.
private struct Pattern {
    let columns: Int
    /// `[rows, columns]`
    private(set) var keeps: [Bool]

    init(_ shape: RadialMask.Shape, _ pair: Pair) {
        let frame = shape.tokensPerFrame
        let size = shape.block
        let rows = shape.blocks(from: pair.row)
        columns = shape.blocks(from: pair.column)
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
        /// Columns that the band fills over more than so many rows.
        func columns(over rows: Int) -> Int {
            guard query.count > rows, 2 * width >= rows else { return 0 }
            return key.clamped(to: query.lowerBound - width + rows..<query.upperBound + width - rows).count
        }
        return 5 * columns(over: height / 3) > 3 * columns(over: 0)
    }
}

/// Bits of a number: 0, 1, 2, 2, 3, 3, 3, 3, 4 …
private func bitLength(_ value: Int) -> Int { Int.bitWidth - value.leadingZeroBitCount }
