import Foundation

/// A line chart as SVG, coloured by the page's style sheet (light and dark).
struct Chart {
    struct Point {
        let x: Double
        let y: Double
        /// Shown when pointed at.
        var note = ""
        /// Written beside it.
        var label = ""
        /// How far single clips lie from it, where there are several.
        var xSpread: ClosedRange<Double>?
        var ySpread: ClosedRange<Double>?
    }

    struct Series {
        let name: String
        /// Which of the style sheet's colours.
        let colour: Int
        /// 0 solid, 1 dashed, 2 dotted.
        var dash = 0
        let points: [Point]
        var hasMarks = false
        /// Whether marks are rings.
        var isHollow = false
    }

    enum Scale { case linear, logarithmic }

    let title: String
    /// With units.
    let xLabel: String
    let yLabel: String
    var yScale = Scale.linear
    /// Curves over whole numbers fill the width; points get some room.
    var fillsWidth = false
    /// A value of x that is always shown, with its name.
    var guide: (x: Double, name: String)?
    let series: [Series]

    static let (width, height) = (400.0, 280.0)
    static let (left, right, top, bottom) = (60.0, 14.0, 12.0, 48.0)

    /// The figure; a sentence where there is nothing finite to draw.
    var svg: String {
        let drawn = series.map { series in
            Series(
                name: series.name, colour: series.colour, dash: series.dash,
                points: series.points.filter {
                    $0.x.isFinite && $0.y.isFinite && (yScale == .linear || $0.y > 0)
                }, hasMarks: series.hasMarks, isHollow: series.isHollow)
        }
        let points = drawn.flatMap(\.points)
        guard !points.isEmpty else {
            return "<p class=\"empty\">\(escaped(title)): nothing to draw, every frame is identical.</p>"
        }
        let x = Axis(
            (series.flatMap(\.points).flatMap { [$0.x] + $0.xSpread.ends } + [guide?.x].compactMap { $0 })
                .filter(\.isFinite), .linear, ends: fillsWidth ? .values : .ticks)
        let y = Axis(points.flatMap { [$0.y] + $0.ySpread.ends }, yScale)
        var body = ""
        for tick in y.ticks {
            let at = place(y: tick, y)
            body += line(Self.left, at, Self.width - Self.right, at, "grid")
            body += text(Self.left - 6, at + 3, y.label(tick), "tick end")
        }
        for tick in x.ticks {
            let at = place(x: tick, x)
            body += line(at, Self.top, at, Self.height - Self.bottom, "grid")
            body += text(at, Self.height - Self.bottom + 20, x.label(tick), "tick mid")
        }
        if let guide {
            let at = place(x: guide.x, x)
            body += line(at, Self.top, at, Self.height - Self.bottom, "guide")
            let isRight = x.fraction(guide.x) > 0.5
            body += text(
                at + (isRight ? -4 : 4), Self.height - Self.bottom - 5, guide.name, isRight ? "tick end" : "tick")
        }
        body += text((Self.left + Self.width - Self.right) / 2, Self.height - 6, xLabel, "axis mid")
        let middle = (Self.top + Self.height - Self.bottom) / 2
        body += "<text class=\"axis mid\" transform=\"translate(12 \(number(middle))) rotate(-90)\">"
            + "\(escaped(yLabel))</text>"
        for series in drawn where !series.points.isEmpty { body += curve(series, x, y) }
        body += labels(of: drawn.filter(\.hasMarks).map { series in
            (series, series.points.map { (place(x: $0.x, x), place(y: $0.y, y)) })
        })
        return "<svg viewBox=\"0 0 \(number(Self.width)) \(number(Self.height))\" role=\"img\" "
            + "aria-label=\"\(escaped(title))\"><title>\(escaped(title))</title>\(body)</svg>"
    }

    private func curve(_ series: Series, _ x: Axis, _ y: Axis) -> String {
        let places = series.points.map { (place(x: $0.x, x), place(y: $0.y, y)) }
        var body = ""
        if places.count > 1 {
            let path = places.map { "\(number($0.0)),\(number($0.1))" }.joined(separator: " ")
            body += "<polyline class=\"curve c\(series.colour) d\(series.dash)\" points=\"\(path)\">"
                + "<title>\(escaped(series.name))</title></polyline>"
        }
        for (point, at) in zip(series.points, places) {
            let (across, up) = (point.xSpread.ends.map { place(x: $0, x) }, point.ySpread.ends.map { place(y: $0, y) })
            if across.count > 1 { body += line(across[0], at.1, across[1], at.1, "spread c\(series.colour)") }
            if up.count > 1 { body += line(at.0, up[0], at.0, up[1], "spread c\(series.colour)") }
        }
        if series.hasMarks || places.count == 1 {
            let style = series.isHollow ? "ring" : "mark"
            for (point, at) in zip(series.points, places) {
                body += "<circle class=\"\(style) c\(series.colour)\" cx=\"\(number(at.0))\" cy=\"\(number(at.1))\" r=\"4.5\">"
                    + "<title>\(escaped([series.name, point.note].filter { !$0.isEmpty }.joined(separator: ": ")))</title></circle>"
            }
        }
        return body
    }

    private func place(x value: Double, _ axis: Axis) -> Double {
        Self.left + axis.fraction(value) * (Self.width - Self.left - Self.right)
    }

    private func place(y value: Double, _ axis: Axis) -> Double {
        Self.height - Self.bottom - axis.fraction(value) * (Self.height - Self.top - Self.bottom)
    }

    func line(_ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ style: String) -> String {
        "<line class=\"\(style)\" x1=\"\(number(x1))\" y1=\"\(number(y1))\" x2=\"\(number(x2))\" y2=\"\(number(y2))\"/>"
    }

    func text(_ x: Double, _ y: Double, _ text: String, _ style: String) -> String {
        "<text class=\"\(style)\" x=\"\(number(x))\" y=\"\(number(y))\">\(escaped(text))</text>"
    }

    private func number(_ value: Double) -> String {
        value == value.rounded() ? String(Int(value)) : fixed(value, 1)
    }
}

extension ClosedRange<Double>? {
    fileprivate var ends: [Double] { map { [$0.lowerBound, $0.upperBound] } ?? [] }
}

/// A range of values, its round ticks, and where a value lies in it.
private struct Axis {
    let ticks: [Double]
    private let low: Double
    private let high: Double
    private let scale: Chart.Scale
    private let digits: Int

    enum Ends { case ticks, values }

    /// - Parameters:
    ///   - values: finite, at least one; above 0 on a logarithmic scale.
    ///   - ends: whether a linear axis ends at ticks, or counts from the lowest value to the highest.
    init(_ values: [Double], _ scale: Chart.Scale, ends: Ends = .ticks) {
        self.scale = scale
        var (low, high) = (values.min() ?? 0, values.max() ?? 1)
        switch scale {
        case .linear:
            if high - low < 1e-9 * max(abs(high), 1) { (low, high) = (low - 0.5, high + 0.5) }
            let rough = (high - low) / 5
            let power = pow(10, floor(log10(rough)))
            let round = [1, 2, 5, 10].map { $0 * power }.first { $0 >= rough * 0.999 } ?? 10 * power
            let step = ends == .values ? max(1, round) : round
            let (first, last) = (floor(low / step + 1e-9), ceil(high / step - 1e-9))
            let all = stride(from: first, through: last, by: 1).map { $0 * step }
            if ends == .values {
                ticks = all.filter { $0 >= low && $0 <= high }
                (self.low, self.high) = (low, high)
                digits = max(0, Int(-floor(log10(step) + 1e-9)))
                return
            }
            ticks = all
            digits = max(0, Int(-floor(log10(step) + 1e-9)))
        case .logarithmic:
            let (first, last) = (Int(floor(log10(low) + 1e-9)), Int(ceil(log10(high) - 1e-9)))
            let decades = first...max(last, first + 1)
            let steps: [Double] = decades.count > 3 ? [1] : [1, 2, 5]
            let all = decades.flatMap { decade in steps.map { $0 * pow(10, Double(decade)) } }
            // From the last tick below the values to the first above them.
            let below = all.last { $0 <= low * 1.0001 } ?? all[0]
            let above = all.first { $0 >= high * 0.9999 } ?? all[all.count - 1]
            let kept = all.filter { $0 >= below && $0 <= above }
            ticks = kept.count > 1 ? kept : [below, below * 10]
            digits = 0
        }
        self.low = ticks[0]
        self.high = ticks[ticks.count - 1]
    }

    /// 0 at the low end, 1 at the high.
    func fraction(_ value: Double) -> Double {
        switch scale {
        case .linear: (value - low) / (high - low)
        case .logarithmic: log(value / low) / log(high / low)
        }
    }

    func label(_ tick: Double) -> String {
        if case .linear = scale { return fixed(tick == 0 ? 0 : tick, digits) }
        return String(format: "%g", tick)
    }
}

/// Text for HTML and its attributes.
func escaped(_ text: String) -> String {
    var result = ""
    for character in text {
        switch character {
        case "&": result += "&amp;"
        case "<": result += "&lt;"
        case ">": result += "&gt;"
        case "\"": result += "&quot;"
        default: result.append(character)
        }
    }
    return result
}
