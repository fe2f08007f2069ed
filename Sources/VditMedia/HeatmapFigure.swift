import VditTensor

/// Heat maps in a grid under a title: each with its own title and the numbers of its frames along both sides, text named,
/// and a bar of every colour scale that is used.
public struct HeatmapFigure: Sendable {
    /// What a scale's colours stand for, from its first to its last.
    public struct Bar: Sendable {
        let colours: Heatmap.Colours
        let low: String
        let high: String

        public init(_ colours: Heatmap.Colours, low: String, high: String) {
            self.colours = colours
            self.low = low
            self.high = high
        }
    }

    /// Above all maps; each line is broken where it would be wider than they are.
    let title: [String]
    let rows: [[Heatmap]]
    let bars: [Bar]
    let side: Int

    private static let gap = 8
    /// Left of a map: three digits of a frame's number.
    private static let gutter = 3 * Lettering.letterWidth + 3
    /// Above a map: its title and the numbers of frames.
    private static let head = 2 * Lettering.height + 2
    private static let barHeight = 10
    private static let barWidth = 160

    /// - Parameters:
    ///   - groups: maps that belong side by side, every group of as many.
    ///   - side: pixels of each map.
    public init(title: [String], groups: [[Heatmap]], bars: [Bar], side: Int) {
        let width = groups.first?.count ?? 0
        precondition(width > 0 && side > 0 && groups.allSatisfy { $0.count == width })
        let columns = pictureColumns(for: groups.count, aspect: Double(width))
        self.title = title
        self.rows = stride(from: 0, to: groups.count, by: columns).map {
            Array(groups[$0..<min($0 + columns, groups.count)].joined())
        }
        self.bars = bars
        self.side = side
    }

    /// - Returns: u8 `[height, width, 3]`.
    public func picture(pool: WorkPool? = nil) -> Tensor {
        let (gap, gutter, head) = (Self.gap, Self.gutter, Self.head)
        let pitch = (across: gutter + side + gap, down: head + side + gap)
        let width = max(rows[0].count * pitch.across, bars.count * Self.barWidth) + gap
        let lines = title.flatMap { Lettering.lines($0, width: width - 2 * gap) }
        let top = gap + lines.count * (Lettering.height + 2)
        let foot = top + rows.count * pitch.down
        let picture = Tensor(.u8, [foot + Self.barHeight + Lettering.height + gap, width, 3])
        picture.fill(byte: 255)
        for (index, line) in lines.enumerated() {
            Lettering.draw(line, on: picture, left: gap, top: gap + index * (Lettering.height + 2), shade: 0)
        }
        for (row, maps) in rows.enumerated() {
            for (column, map) in maps.enumerated() {
                draw(map, on: picture, left: gap + column * pitch.across, top: top + row * pitch.down, pool)
            }
        }
        for (index, bar) in bars.enumerated() {
            draw(bar, on: picture, left: gap + index * Self.barWidth, top: foot)
        }
        return picture
    }

    private func draw(_ map: Heatmap, on picture: Tensor, left: Int, top: Int, _ pool: WorkPool?) {
        let corner = (left: left + Self.gutter, top: top + Self.head)
        Lettering.draw(
            String(map.title.prefix(side / Lettering.letterWidth)), on: picture, left: corner.left, top: top, shade: 0)
        func mark(_ word: String, across: Int, down: Int) {
            Lettering.draw(
                word, on: picture, left: corner.left + across, top: corner.top - Lettering.height, shade: 96)
            Lettering.draw(
                word, on: picture, left: corner.left - Lettering.width(word) - 2, top: corner.top + down, shade: 96)
        }
        let text = "text"
        let across = map.textPlaces(side: side, length: Lettering.width(text), beyond: Self.gap)
        let down = map.textPlaces(side: side, length: Lettering.height, beyond: Self.gap)
        for (across, down) in zip(across, down) { mark(text, across: across, down: down) }
        for tick in map.frameTicks(side: side, apart: 2 * Self.gutter) {
            let number = String(tick.frame)
            let isFree = across.allSatisfy { $0 <= tick.place || tick.place + Lettering.width(number) < $0 }
            if isFree { mark(number, across: tick.place, down: tick.place) }
        }
        map.draw(on: picture, top: corner.top, left: corner.left, side, pool)
    }

    private func draw(_ bar: Bar, on picture: Tensor, left: Int, top: Int) {
        let width = Self.barWidth - 2 * Self.gap
        let table = bar.colours.table
        for x in 0..<width {
            let colour = table[x * 255 / (width - 1)]
            for y in top..<top + Self.barHeight {
                let pixel = picture[y][left + x].pointer(as: UInt8.self)
                for channel in 0..<3 { pixel[channel] = UInt8(clamping: colour[channel]) }
            }
        }
        let below = top + Self.barHeight + 1
        Lettering.draw(bar.low, on: picture, left: left, top: below, shade: 0)
        Lettering.draw(
            bar.high, on: picture, left: left + width - Lettering.width(bar.high), top: below, shade: 0)
    }
}
