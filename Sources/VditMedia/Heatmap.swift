import VditTensor

/// A matrix over blocks of tokens, drawn as a square in which every token takes the same room.
public struct Heatmap: Sendable {
    public enum Colours: Sendable {
        /// Dark violet over green to yellow, evenly brighter: matplotlib's viridis, between 17 of its colours.
        case viridis
        /// Light for 0, dark blue for 1.
        case ink
    }

    /// `[rows, columns]` f32, 0…1.
    public var values: Tensor
    /// Block boundaries in tokens: first 0, last the token count, ascending.
    public var rowOffsets: [Int32]
    public var columnOffsets: [Int32]
    public var colours: Colours
    /// Token positions at which a line is drawn in both directions: where frames begin, and where the last one ends.
    public var borders: [Int]
    /// Where tokens are those of text; a line is drawn at their ends too.
    public var text: [Range<Int>]
    /// A line above it.
    public var title: String

    public init(
        values: Tensor, rowOffsets: [Int32], columnOffsets: [Int32], colours: Colours, borders: [Int] = [],
        text: [Range<Int>] = [], title: String = ""
    ) {
        precondition(values.rank == 2 && values.dtype == .f32)
        precondition(values.shape == [rowOffsets.count - 1, columnOffsets.count - 1])
        self.values = values
        self.rowOffsets = rowOffsets
        self.columnOffsets = columnOffsets
        self.colours = colours
        self.borders = borders
        self.text = text
        self.title = title
    }

    /// Pixels of a side: at least `least`, a whole number of pixels per token where tokens are few, and fewer
    /// pixels than tokens where they are many; pixels then show means.
    public static func side(tokens: Int, least: Int) -> Int {
        tokens >= 2 * least ? 2 * least : (least + tokens - 1) / tokens * tokens
    }

    /// Draws the map into a square of a u8 picture `[height, width, 3]`.
    func draw(on picture: Tensor, top: Int, left: Int, _ side: Int, _ pool: WorkPool?) {
        let rows = Self.cover(rowOffsets, side)
        let columns = Self.cover(columnOffsets, side)
        let table = colours.table
        let ends = Set(borders + text.flatMap { [$0.lowerBound, $0.upperBound] })
        let lines = Self.lines(ends.sorted(), tokens: Int(rowOffsets.last ?? 0), side)
        forEachItem(side, pool) { (y: Int) in
            // What this row of pixels shows of each column block, then of each pixel.
            var blocks = [Float](repeating: 0, count: columnOffsets.count - 1)
            for (row, weight) in rows[y] {
                values[row].withFloats { values in
                    for i in values.indices { blocks[i] += weight * values[i] }
                }
            }
            let target = picture[top + y].pointer(as: UInt8.self) + 3 * left
            for x in 0..<side {
                let value = columns[x].reduce(Float(0)) { $0 + $1.weight * blocks[$1.block] }
                var colour = table[Int(max(0, min(1, value)) * 255 + 0.5)]
                if lines[y] || lines[x] { colour = (colour &+ SIMD3(428, 120, 120)) / 3 }
                for channel in 0..<3 { target[3 * x + channel] = UInt8(clamping: colour[channel]) }
            }
        }
    }

    /// The blocks under each pixel and their shares of it.
    private static func cover(_ offsets: [Int32], _ side: Int) -> [[(block: Int, weight: Float)]] {
        let tokens = Double(offsets.last ?? 0)
        let perPixel = tokens / Double(side)
        var block = 0
        return (0..<side).map { pixel in
            let (start, end) = (Double(pixel) * perPixel, Double(pixel + 1) * perPixel)
            while block + 2 < offsets.count, Double(offsets[block + 1]) <= start + 1e-9 * tokens { block += 1 }
            var parts: [(block: Int, weight: Float)] = []
            var next = block
            repeat {
                let share = min(end, Double(offsets[next + 1])) - max(start, Double(offsets[next]))
                parts.append((next, Float(share / perPixel)))
                next += 1
            } while next + 1 < offsets.count && Double(offsets[next]) < end - 1e-9 * tokens
            return parts
        }
    }

    /// Which pixels are on a border; none where borders would be closer than a few pixels.
    private static func lines(_ borders: [Int], tokens: Int, _ side: Int) -> [Bool] {
        var lines = [Bool](repeating: false, count: side)
        let places = borders.filter { $0 > 0 && $0 < tokens }.map { $0 * side / tokens }
        if zip(places, places.dropFirst()).contains(where: { $1 - $0 < 6 }) { return lines }
        for place in places { lines[place] = true }
        return lines
    }

    /// Numbers of frames and the pixel at which each begins, no two closer than so many pixels.
    func frameTicks(side: Int, apart: Int) -> [(frame: Int, place: Int)] {
        let tokens = Int(rowOffsets.last ?? 0)
        var ticks: [(frame: Int, place: Int)] = []
        for (frame, border) in borders.dropLast().enumerated() {
            let place = border * side / tokens
            if place >= (ticks.last?.place ?? -apart) + apart { ticks.append((frame, place)) }
        }
        return ticks
    }

    /// The first pixels of words of so many, one for each stretch of text: over its middle, or beside the video where
    /// it is too short for that. None ends more than `beyond` pixels behind the map.
    func textPlaces(side: Int, length: Int, beyond: Int) -> [Int] {
        let tokens = Int(rowOffsets.last ?? 0)
        return text.map { text in
            let (start, end) = (text.lowerBound * side / tokens, text.upperBound * side / tokens)
            let middle = (start + end - length) / 2
            return start == 0 ? min(middle, end - length) : min(max(middle, start), side + beyond - length)
        }
    }
}

extension Heatmap.Colours {
    private var stops: [SIMD3<Int32>] {
        switch self {
        case .viridis:
            [
                0x440154, 0x48186a, 0x472d7b, 0x424086, 0x3b528b, 0x33638d, 0x2c728e, 0x26828e, 0x21918c,
                0x1fa088, 0x28ae80, 0x3fbc73, 0x5ec962, 0x84d44b, 0xaddc30, 0xd8e219, 0xfde725,
            ].map { SIMD3($0 >> 16, $0 >> 8 & 255, $0 & 255) }
        case .ink: [SIMD3(238, 238, 236), SIMD3(38, 66, 122)]
        }
    }

    /// 256 colours from 0 to 1.
    var table: [SIMD3<Int32>] {
        let stops = stops
        let last = Int32(stops.count - 1)
        return (0..<256).map { (index: Int32) in
            let place = index * last
            let (stop, rest) = (Int(place / 255), place % 255)
            if rest == 0 { return stops[stop] }
            return (stops[stop] &* (255 - rest) &+ stops[stop + 1] &* rest) / 255
        }
    }
}
