// Eight floats. Included inside an ISA region.

enum { LANES = 8, TILE_VECTORS = 2 };  // 6 × 2 sums leave room for 2 of keys and a broadcast
typedef __m256 vec;

VDIT_INLINE vec v_zero(void) { return _mm256_setzero_ps(); }
VDIT_INLINE vec v_set(float x) { return _mm256_set1_ps(x); }
VDIT_INLINE vec v_load(const void *from) { return _mm256_load_ps(from); }
VDIT_INLINE void v_store(float *to, vec x) { _mm256_store_ps(to, x); }
VDIT_INLINE vec v_broadcast(const uint32_t *unit) { return _mm256_broadcast_ss((const float *)unit); }
VDIT_INLINE vec v_add(vec a, vec b) { return _mm256_add_ps(a, b); }
VDIT_INLINE vec v_sub(vec a, vec b) { return _mm256_sub_ps(a, b); }
VDIT_INLINE vec v_mul(vec a, vec b) { return _mm256_mul_ps(a, b); }
VDIT_INLINE vec v_max(vec a, vec b) { return _mm256_max_ps(a, b); }
VDIT_INLINE int v_any_above(vec a, vec b) { return _mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)) != 0; }

VDIT_INLINE float v_largest(vec a) {
    float lane[8], largest;
    _mm256_storeu_ps(lane, a);
    largest = lane[0];
    for (int i = 1; i < 8; i++) largest = lane[i] > largest ? lane[i] : largest;
    return largest;
}

VDIT_INLINE float v_sum(vec a) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

/// 2^x for x <= 8, 0 below 2^-126.
VDIT_INLINE vec v_exp2(vec x) {
    x = _mm256_max_ps(_mm256_set1_ps(-127), x);  // in this order NaN stays
    vec whole = _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    vec part = _mm256_sub_ps(x, whole);
#define STEP(sum, coefficient) _mm256_fmadd_ps(sum, part, _mm256_set1_ps(coefficient))
    vec power = EXP2_POLYNOMIAL(_mm256_set1_ps, STEP);
#undef STEP
    __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
    return _mm256_mul_ps(power, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}

/// to[k][line] = lines[line][k] for 16 lines of `units` units.
VDIT_INLINE void transpose_lines(const uint32_t *const *lines, int32_t units, uint32_t *to) {
    for (int32_t u = 0; u < units; u++)
        for (int32_t k = 0; k < 16; k++) to[u * 16 + k] = ((const any_bits *)lines[k])[u];
}

VDIT_INLINE vec v_dot(vec sum, vec a, vec b) { return _mm256_fmadd_ps(a, b, sum); }

VDIT_INLINE vec v_store_weights(uint32_t *to, vec weights, vec total) {
    _mm256_store_ps((float *)to, weights);
    return _mm256_add_ps(total, weights);
}

VDIT_INLINE vec v_load_weights(const uint32_t *from) { return v_load(from); }
