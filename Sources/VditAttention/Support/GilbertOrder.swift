extension TokenLayout {
    /// Video tokens along a generalized Hilbert curve through frames, rows and columns, the longest extent first:
    /// consecutive tokens are mostly neighbours, and a run of them is a compact part of the video.
    ///
    /// - Source: Jakub Červený's generalized Hilbert curve; the order of Jenga (arXiv 2505.16864) and others.
    func gilbert() -> [Int32] {
        let columns = Vector(1, 0, 0) * width
        let rows = Vector(0, 1, 0) * height
        let frames = Vector(0, 0, 1) * self.frames
        var walk = GilbertWalk(width: width, height: height, count: videoTokens)
        if width >= height && width >= self.frames {
            walk.visit(Vector(), columns, rows, frames)
        } else if height >= self.frames {
            walk.visit(Vector(), rows, columns, frames)
        } else {
            walk.visit(Vector(), frames, columns, rows)
        }
        return walk.order
    }
}

/// A place, or a side of a box along one axis.
private struct Vector {
    var x = 0
    var y = 0
    var z = 0

    init() {}
    init(_ x: Int, _ y: Int, _ z: Int) { (self.x, self.y, self.z) = (x, y, z) }

    /// Of a side.
    var length: Int { abs(x + y + z) }
    var unit: Vector { Vector(x.signum(), y.signum(), z.signum()) }

    /// About half of a side, of even length where that is possible.
    var half: Vector {
        let half = Vector(x >> 1, y >> 1, z >> 1)
        return half.length % 2 == 1 && length > 2 ? half + unit : half
    }

    static func + (a: Vector, b: Vector) -> Vector { Vector(a.x + b.x, a.y + b.y, a.z + b.z) }
    static func - (a: Vector, b: Vector) -> Vector { a + -b }
    static func * (a: Vector, factor: Int) -> Vector { Vector(a.x * factor, a.y * factor, a.z * factor) }
    static prefix func - (a: Vector) -> Vector { a * -1 }
}

/// The curve as far as it has come.
private struct GilbertWalk {
    private let width: Int
    private let height: Int
    private(set) var order: [Int32] = []

    init(width: Int, height: Int, count: Int) {
        (self.width, self.height) = (width, height)
        order.reserveCapacity(count)
    }

    /// Every cell of the box of sides `a`, `b` and `c` at `p`, from `p` to the end of `a`.
    mutating func visit(_ p: Vector, _ a: Vector, _ b: Vector, _ c: Vector) {
        for (side, one, other) in [(a, b, c), (b, a, c), (c, a, b)] where one.length == 1 && other.length == 1 {
            for step in 0..<side.length {
                let cell = p + side.unit * step
                order.append(Int32((cell.z * height + cell.y) * width + cell.x))
            }
            return
        }
        let (a2, b2, c2) = (a.half, b.half, c.half)
        let (aEnd, bEnd, cEnd) = (a - a.unit, b2 - b.unit, c2 - c.unit)
        if 2 * a.length > 3 * b.length && 2 * a.length > 3 * c.length {
            visit(p, a2, b, c)
            visit(p + a2, a - a2, b, c)
        } else if 3 * b.length > 4 * c.length {
            visit(p, b2, c, a2)
            visit(p + b2, a, b - b2, c)
            visit(p + aEnd + bEnd, -b2, c, a2 - a)
        } else if 3 * c.length > 4 * b.length {
            visit(p, c2, a2, b)
            visit(p + c2, a, b, c - c2)
            visit(p + aEnd + cEnd, -c2, a2 - a, b)
        } else {
            let far = c - c.unit
            visit(p, b2, c2, a2)
            visit(p + b2, c, a2, b - b2)
            visit(p + bEnd + far, a, -b2, c2 - c)
            visit(p + aEnd + b2 + far, -c, a2 - a, b - b2)
            visit(p + aEnd + bEnd, -b2, c2, a2 - a)
        }
    }
}
