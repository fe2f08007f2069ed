import Foundation

extension Chart {
    private struct Box {
        let left, top, right, bottom: Double

        func meets(_ other: Box) -> Bool {
            left < other.right && other.left < right && top < other.bottom && other.top < bottom
        }

        static func around(_ at: (Double, Double), _ radius: Double) -> Box {
            Box(left: at.0 - radius, top: at.1 - radius, right: at.0 + radius, bottom: at.1 + radius)
        }
    }

    /// A name beside every marked point: at the nearest place where it covers no point and no other name, nor a curve
    /// if that can be had; a line leads to one that is farther away.
    ///
    /// - Parameter marked: the series, and where in the figure their points are.
    func labels(of marked: [(series: Series, places: [(Double, Double)])]) -> String {
        var taken = marked.flatMap(\.places).map { Box.around($0, 5) }
        let curves = marked.flatMap { _, places in
            zip(places, places.dropFirst()).flatMap { from, to in
                (0...40).map { step in
                    let part = Double(step) / 40
                    return Box.around((from.0 + part * (to.0 - from.0), from.1 + part * (to.1 - from.1)), 1)
                }
            }
        }
        var body = ""
        for (series, places) in marked {
            for (point, at) in zip(series.points, places) where !point.label.isEmpty {
                let boxes = candidates(at, wide: 6.4 * Double(point.label.count))
                let free = boxes.filter { box in !taken.contains(where: box.meets) }
                guard let box = free.prefix(6).first(where: { !curves.contains(where: $0.meets) }) ?? free.first ?? boxes.first
                else { continue }
                taken.append(box)
                body += leader(from: at, to: box, series.colour)
                body += text(box.left, box.bottom - 1, point.label, "note c\(series.colour)")
            }
        }
        return body
    }

    /// Where a name may stand, the nearest first, all of it within the figure.
    private func candidates(_ at: (Double, Double), wide: Double) -> [Box] {
        let beside = [
            (at.0 + 8, at.1 + 4), (at.0 - 8 - wide, at.1 + 4), (at.0 - wide / 2, at.1 - 9), (at.0 - wide / 2, at.1 + 17),
            (at.0 + 4, at.1 - 8), (at.0 + 4, at.1 + 16),
        ]
        let farther = stride(from: 20.0, through: 200, by: 10).flatMap { radius in
            (0..<16).map { turn in
                let angle = Double(turn) * .pi / 8
                let middle = (at.0 + (radius + wide / 2) * cos(angle), at.1 + radius * sin(angle))
                return (middle.0 - wide / 2, middle.1 + 4)
            }
        }
        return (beside + farther).map { Box(left: $0.0, top: $0.1 - 9, right: $0.0 + wide, bottom: $0.1 + 1) }.filter {
            $0.left > Self.left && $0.right < Self.width - 2 && $0.top > 0 && $0.bottom < Self.height - Self.bottom
        }
    }

    private func leader(from at: (Double, Double), to box: Box, _ colour: Int) -> String {
        let end = (min(max(at.0, box.left), box.right), min(max(at.1, box.top + 1), box.bottom))
        if hypot(end.0 - at.0, end.1 - at.1) < 12 { return "" }
        return line(at.0, at.1, end.0, end.1, "spread c\(colour)")
    }
}
