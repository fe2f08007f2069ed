import Glibc

/// The random numbers of `torch.Generator("cpu")`, bit for bit.
///
/// MT19937, then Box-Muller as PyTorch's x86-64 build with AVX2 computes it: blocks of 16 in fp32 with
/// polynomial logarithm and sine, or one at a time in double when fewer than 16 are asked for. Every machine
/// gives the same bits here; PyTorch itself differs in the last place where it has no AVX2.
/// - Source: PyTorch 2.13, `ATen/native/cpu/DistributionTemplates.h`, `avx_mathfun.h`, `MT19937RNGEngine.h`.
public struct TorchRandom: Sendable {
    private var twister: [UInt32]
    /// Words of `twister` already drawn.
    private var drawn = stateWords
    /// The second normal of the last small call, which the next one uses first.
    private var cached: Double?

    private static let stateWords = 624

    /// - Parameter seed: as for `manual_seed`; only its low 32 bits matter.
    public init(seed: UInt64) {
        twister = [UInt32](repeating: UInt32(truncatingIfNeeded: seed), count: Self.stateWords)
        for index in 1..<Self.stateWords {
            let before = twister[index - 1]
            twister[index] = 1_812_433_253 &* (before ^ before >> 30) &+ UInt32(index)
        }
    }

    /// `torch.randn(shape, dtype=dtype, generator=self)`.
    ///
    /// - Parameter dtype: F32, F64, F16 or BF16.
    public mutating func normal(_ shape: [Int], _ dtype: DType = .f32) -> Tensor {
        precondition(dtype.isFloatingPoint, "randn has no \(dtype)")
        let result = Tensor(dtype == .f64 ? .f64 : .f32, shape)
        switch (result.count, dtype) {
        case (..<16, _):
            let values = Tensor(.f64, shape)
            let pointer = values.pointer(as: Double.self)
            for index in 0..<values.count { pointer[index] = smallNormal() }
            return values.converted(to: dtype)
        case (_, .f32):
            fill(result.pointer(as: Float.self), result.count)
            return result
        case (_, .f64):
            fill(result.pointer(as: Double.self), result.count)
            return result
        default:
            fillInBlocks(result.pointer(as: Float.self), result.count)
            return result.converted(to: dtype)
        }
    }

    /// The next 32 bits of the generator.
    public mutating func word() -> UInt32 {
        if drawn == Self.stateWords { regenerate() }
        var word = twister[drawn]
        drawn += 1
        word ^= word >> 11
        word ^= word << 7 & 0x9d2c_5680
        word ^= word << 15 & 0xefc6_0000
        return word ^ word >> 18
    }

    /// `torch.rand` in fp32: uniform in [0, 1), multiples of 2⁻²⁴.
    public mutating func uniformFloat() -> Float { Float(word() & 0xff_ffff) * 0x1p-24 }

    /// `torch.rand` in fp64: uniform in [0, 1), multiples of 2⁻⁵³.
    public mutating func uniformDouble() -> Double {
        let high = UInt64(word())
        return Double((high << 32 | UInt64(word())) & (1 << 53 - 1)) * 0x1p-53
    }

    private mutating func regenerate() {
        let count = Self.stateWords
        twister.withUnsafeMutableBufferPointer { state in
            for index in 0..<count {
                let mixed = state[index] & 0x8000_0000 | state[(index + 1) % count] & 0x7fff_ffff
                state[index] =
                    state[(index + 397) % count] ^ mixed >> 1 ^ (mixed & 1) &* 0x9908_b0df
            }
        }
        drawn = 0
    }
}

// MARK: Normals

extension TorchRandom {
    private mutating func smallNormal() -> Double {
        if let value = cached {
            cached = nil
            return value
        }
        let angle = 2 * Double.pi * uniformDouble()
        let radius = sqrt(-2 * log1p(-uniformDouble()))
        cached = radius * sin(angle)
        return radius * cos(angle)
    }

    /// Full blocks of 16, then, for a rest, 16 new numbers over the last 16.
    private mutating func fill(_ values: UnsafeMutablePointer<Float>, _ count: Int) {
        for index in 0..<count { values[index] = uniformFloat() }
        for block in 0..<count / 16 { Self.transform(values + 16 * block) }
        if count % 16 != 0 { fillBlock(values + count - 16) }
    }

    private mutating func fill(_ values: UnsafeMutablePointer<Double>, _ count: Int) {
        for index in 0..<count { values[index] = uniformDouble() }
        for block in 0..<count / 16 { Self.transform(values + 16 * block) }
        if count % 16 != 0 {
            for index in count - 16..<count { values[index] = uniformDouble() }
            Self.transform(values + count - 16)
        }
    }

    /// As `fill`, but drawn block by block: the order PyTorch has for its 16-bit types.
    private mutating func fillInBlocks(_ values: UnsafeMutablePointer<Float>, _ count: Int) {
        for block in 0..<count / 16 { fillBlock(values + 16 * block) }
        if count % 16 != 0 { fillBlock(values + count - 16) }
    }

    private mutating func fillBlock(_ values: UnsafeMutablePointer<Float>) {
        for index in 0..<16 { values[index] = uniformFloat() }
        Self.transform(values)
    }

    /// 8 pairs of uniforms become 8 pairs of normals.
    private static func transform(_ values: UnsafeMutablePointer<Float>) {
        for lane in 0..<8 {
            let radius = (-2 * logarithm(1 - values[lane])).squareRoot()
            let (sine, cosine) = sineAndCosine(Float(2 * Double.pi) * values[lane + 8])
            values[lane] = radius * cosine
            values[lane + 8] = radius * sine
        }
    }

    private static func transform(_ values: UnsafeMutablePointer<Double>) {
        for lane in 0..<8 {
            let radius = sqrt(-2 * log(1 - values[lane]))
            let angle = 2 * Double.pi * values[lane + 8]
            values[lane] = radius * cos(angle)
            values[lane + 8] = radius * sin(angle)
        }
    }

    /// a·b + c, rounded once. Which products are fused decides the last bit of the results.
    private static func fma(_ a: Float, _ b: Float, _ c: Float) -> Float { c.addingProduct(a, b) }

    /// Natural logarithm of 0 < x <= 1, normal numbers only; Cephes.
    private static func logarithm(_ x: Float) -> Float {
        var exponent = Float(Int32(x.bitPattern >> 23) - 126)
        var m = Float(bitPattern: x.bitPattern & 0x7f_ffff | 0x3f00_0000)
        if m < 0.707106781186547524 {
            exponent -= 1
            m = (m - 1) + m
        } else {
            m -= 1
        }
        let z = m * m
        var y: Float = 7.0376836292e-2
        y = fma(y, m, -1.1514610310e-1)
        y = fma(y, m, 1.1676998740e-1)
        y = fma(y, m, -1.2420140846e-1)
        y = fma(y, m, 1.4249322787e-1)
        y = fma(y, m, -1.6668057665e-1)
        y = fma(y, m, 2.0000714765e-1)
        y = fma(y, m, -2.4999993993e-1)
        y = fma(y, m, 3.3333331174e-1)
        y *= m
        y = fma(y, z, exponent * -2.12194440e-4)
        y -= 0.5 * z
        return fma(exponent, 0.693359375, m + y)
    }

    /// Of 0 <= x <= 2π; Cephes.
    private static func sineAndCosine(_ x: Float) -> (sine: Float, cosine: Float) {
        let octant = (Int32(x * 1.27323954473516) + 1) & ~1
        let q = Float(octant)
        var t = fma(q, -0.78515625, x)
        t = fma(q, -2.4187564849853515625e-4, t)
        t = fma(q, -3.77489497744594108e-8, t)
        let z = t * t
        var c = fma(2.443315711809948e-5, z, -1.388731625493765e-3)
        c = fma(c, z, 4.166664568298827e-2)
        c *= z
        c = fma(c, z, -(0.5 * z)) + 1
        var s = fma(-1.9515295891e-4, z, 8.3321608736e-3)
        s = fma(s, z, -1.6666654611e-1)
        s *= z
        s = fma(s, t, t)
        let (sine, cosine) = octant & 2 == 0 ? (s, c) : (c, s)
        return (octant & 4 != 0 ? -sine : sine, (octant - 2) & 4 == 0 ? -cosine : cosine)
    }
}

// MARK: Checkpoints

extension TorchRandom {
    /// Everything the next numbers depend on: U32 [628], the engine's words, how many are drawn, whether a
    /// normal is cached, and its bits.
    public var state: Tensor {
        let bits = (cached ?? 0).bitPattern
        let words =
            twister + [
                UInt32(drawn), cached == nil ? 0 : 1, UInt32(truncatingIfNeeded: bits),
                UInt32(truncatingIfNeeded: bits >> 32),
            ]
        let state = Tensor(.u32, [words.count])
        let pointer = state.pointer(as: UInt32.self)
        for (index, word) in words.enumerated() { pointer[index] = word }
        return state
    }

    /// Goes on where `state` was taken.
    ///
    /// - Throws: `TensorError.mismatch` when it is not such a state.
    public init(state: Tensor) throws(TensorError) {
        let count = Self.stateWords
        guard state.dtype == .u32, state.shape == [count + 4] else {
            throw .mismatch(
                tensor: "random state", found: "\(state.dtype.rawValue) \(state.shape)",
                expected: "U32 [\(count + 4)]")
        }
        let words = UnsafeBufferPointer(start: state.pointer(as: UInt32.self), count: count + 4)
        guard words[count] <= UInt32(count), words[count + 1] <= 1 else {
            throw .mismatch(
                tensor: "random state", found: "\(words[count]) words drawn, \(words[count + 1]) cached",
                expected: "at most \(count) and 1")
        }
        twister = Array(words[..<count])
        drawn = Int(words[count])
        if words[count + 1] == 1 {
            cached = Double(bitPattern: UInt64(words[count + 2]) | UInt64(words[count + 3]) << 32)
        }
    }
}
