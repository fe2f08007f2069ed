/// Scores in descending order, ties with the lower index first, so that plans are the same on every machine.
///
/// - Parameter scores: not negative; NaN ranks first.
func ranked(_ scores: some Collection<Float>) -> [Int32] {
    // Non-negative floats sort as their bits do.
    var keys = scores.enumerated().map { index, score in
        UInt64(~score.magnitude.bitPattern) << 32 | UInt64(UInt32(index))
    }
    keys.sort()
    return keys.map { Int32(truncatingIfNeeded: $0 & 0xffff_ffff) }
}

/// How many of a row's ranked scores are kept. Sums run in Double, in rank order, so that counts do not
/// depend on vector width; a mass of 1 or more keeps everything.
package enum SelectionRule: Sendable, Equatable {
    /// `max(1, floor(fraction · count))`.
    case top(Double)
    /// `count − floor(fraction · count)`.
    case complement(Double)
    /// Entries whose mass strictly before them is less: the crossing one is kept.
    case before(Double)
    /// Entries whose inclusive mass is at most this, at least one: the crossing one is dropped.
    case upTo(Double)
    /// One more than the entries whose inclusive mass is at most this.
    case upToPlusOne(Double)
    /// Up to and including the first entry at which the mass is reached.
    case reach(Double)
    /// One fewer than that, but no fewer and no more than these parts of all, rounded down to one at least.
    case reachMinusOne(Double, least: Double, most: Double)

    /// - Parameter scores: descending, summing to 1.
    package func count(_ scores: some Collection<Float>) -> Int {
        let total = scores.count
        switch self {
        case .top(let fraction):
            return min(total, max(1, Int((fraction * Double(total)).rounded(.down))))
        case .complement(let fraction):
            return total - Int((fraction * Double(total)).rounded(.down))
        case .reachMinusOne(let mass, let least, let most):
            let reached = mass >= 1 ? total : Self.reach(mass).count(scores) - 1
            return min(max(reached, Self.top(least).count(scores)), Self.top(most).count(scores))
        case .before(let mass), .upTo(let mass), .upToPlusOne(let mass), .reach(let mass):
            if mass >= 1 { return total }
            var inclusive = 0.0
            var within = 0
            var short = 0
            for score in scores {
                inclusive += Double(score)
                if inclusive <= mass { within += 1 }
                if inclusive < mass { short += 1 }
                if inclusive > mass { break }
            }
            switch self {
            case .upTo: return max(1, within)
            case .upToPlusOne: return min(total, within + 1)
            default: return min(total, short + 1)
            }
        }
    }
}
