// Sixteen floats. Included inside an ISA region; ELEMENTS chooses the operands of v_dot: floats, or pairs of bf16.

enum { LANES = 16, TILE_VECTORS = 4 };  // 6 × 4 sums leave room for 4 of keys and a broadcast
typedef __m512 vec;

VDIT_INLINE vec v_zero(void) { return _mm512_setzero_ps(); }
VDIT_INLINE vec v_set(float x) { return _mm512_set1_ps(x); }
VDIT_INLINE vec v_load(const void *from) { return _mm512_load_ps(from); }
VDIT_INLINE void v_store(float *to, vec x) { _mm512_store_ps(to, x); }
VDIT_INLINE vec v_broadcast(const uint32_t *unit) { return _mm512_broadcastss_ps(_mm_load_ss((const float *)unit)); }
VDIT_INLINE vec v_add(vec a, vec b) { return _mm512_add_ps(a, b); }
VDIT_INLINE vec v_sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
VDIT_INLINE vec v_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
VDIT_INLINE vec v_multiply_add(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
VDIT_INLINE vec v_max(vec a, vec b) { return _mm512_max_ps(a, b); }
VDIT_INLINE int v_any_above(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ) != 0; }
VDIT_INLINE float v_largest(vec a) { return _mm512_reduce_max_ps(a); }
VDIT_INLINE float v_sum(vec a) { return _mm512_reduce_add_ps(a); }

/// 2^x for x <= 8, 0 below 2^-126: subnormal weights are slow and weigh nothing. (bf16 products take them as 0.)
VDIT_INLINE vec v_exp2(vec x) {
    vec whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    vec part = _mm512_sub_ps(x, whole);
#define STEP(sum, coefficient) _mm512_fmadd_ps(sum, part, _mm512_set1_ps(coefficient))
    vec power = EXP2_POLYNOMIAL(_mm512_set1_ps, STEP);
#undef STEP
    if (ELEMENTS == 2) return _mm512_scalef_ps(power, whole);
    __mmask16 normal = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-126), _CMP_NLT_UQ);
    return _mm512_maskz_scalef_ps(normal, power, whole);
}

/// to[k][line] = lines[line][k] for 16 lines of `units` units; reads whole vectors.
VDIT_INLINE void transpose_lines(const uint32_t *const *lines, int32_t units, uint32_t *to) {
    for (int32_t first = 0; first < units; first += 16) {
        __m512i a[16], b[16], line[16];
        for (int i = 0; i < 16; i++) a[i] = _mm512_loadu_si512(lines[i] + first);
        for (int i = 0; i < 16; i += 2) {
            b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
            b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
        }
        // Then quarter q of a[4i + j] holds unit 4q + j of lines 4i ... 4i + 3.
        for (int i = 0; i < 16; i += 4)
            for (int j = 0; j < 2; j++) {
                a[i + 2 * j] = _mm512_unpacklo_epi64(b[i + j], b[i + j + 2]);
                a[i + 2 * j + 1] = _mm512_unpackhi_epi64(b[i + j], b[i + j + 2]);
            }
        for (int j = 0; j < 4; j++) {
            __m512i b0 = _mm512_shuffle_i32x4(a[j], a[4 + j], 0x44);
            __m512i b1 = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0x44);
            __m512i b2 = _mm512_shuffle_i32x4(a[j], a[4 + j], 0xee);
            __m512i b3 = _mm512_shuffle_i32x4(a[8 + j], a[12 + j], 0xee);
            line[j] = _mm512_shuffle_i32x4(b0, b1, 0x88);
            line[4 + j] = _mm512_shuffle_i32x4(b0, b1, 0xdd);
            line[8 + j] = _mm512_shuffle_i32x4(b2, b3, 0x88);
            line[12 + j] = _mm512_shuffle_i32x4(b2, b3, 0xdd);
        }
        for (int i = 0; i < 16 && first + i < units; i++)
            _mm512_store_si512(to + (first + i) * 16, line[i]);
    }
}

#if ELEMENTS == 2

VDIT_INLINE vec v_dot(vec sum, vec a, vec b) {
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

/// Adds weights, in pairs, to the sums.
VDIT_INLINE vec v_add_weights(vec total, vec pairs) {
    return v_dot(total, pairs, (vec)_mm512_set1_epi32(0x3f803f80));
}

/// Stores weights as operands and adds them, as rounded, to the sums.
VDIT_INLINE vec v_store_weights(uint32_t *to, vec weights, vec total) {
    __m256i pairs = (__m256i)_mm512_cvtneps_pbh(weights);
    _mm256_store_si256((__m256i *)to, pairs);
    return v_add_weights(total, (vec)_mm512_zextsi256_si512(pairs));
}

/// Weights of consecutive keys, stored as operands.
VDIT_INLINE vec v_load_weights(const uint32_t *from) {
    __m512i halves = _mm512_cvtepu16_epi32(_mm256_load_si256((const __m256i *)from));
    return (vec)_mm512_slli_epi32(halves, 16);
}

#else

VDIT_INLINE vec v_dot(vec sum, vec a, vec b) { return _mm512_fmadd_ps(a, b, sum); }

VDIT_INLINE vec v_store_weights(uint32_t *to, vec weights, vec total) {
    _mm512_store_ps(to, weights);
    return _mm512_add_ps(total, weights);
}

VDIT_INLINE vec v_load_weights(const uint32_t *from) { return v_load(from); }

#endif
