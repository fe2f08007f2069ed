// Scores as weights of bf16, 32 at a time, in 16-bit whole numbers: two thirds of the instructions that floats take.
// Included inside an ISA region after vec_avx512.h.
//
// A score in 1024ths of log 2, as a whole number, is the power of two with its mantissa drawn as a straight line; a
// cubic mends the line. Errors 1.7e-3 r.m.s., as of the exact power rounded to bf16. Whole exponents are exact.

/// Weights come in this order of their scores: the first four of `low`, then of `high`, and so on.
#define KEY_AT(place) ((place) % 16 / 4 * 8 + (place) / 16 * 4 + (place) % 4)

enum {
    WEIGHT_UNITS = 1024,  // of log 2
    LEAST_EXPONENT = -55,
};

/// What is added to a score in those units: the exponents that fit 16 bits, and half a bf16's last place, for rounding.
VDIT_INLINE float weight_offset(float reference) { return (-LEAST_EXPONENT - reference) * WEIGHT_UNITS + 4.25f; }

/// Whether some of both are above `most` or no number.
VDIT_INLINE int v_any_not_within(vec low, vec high, vec most) {
    return (_mm512_cmp_ps_mask(low, most, _CMP_NLE_UQ) | _mm512_cmp_ps_mask(high, most, _CMP_NLE_UQ)) != 0;
}

/// The weights in pairs, down to 2^LEAST_EXPONENT, which weighs nothing.
VDIT_INLINE vec v_weights(vec low, vec high) {
    const __m512i x = _mm512_packus_epi32(_mm512_cvtps_epi32(low), _mm512_cvtps_epi32(high));
    const __m512i part = _mm512_slli_epi16(x, 6);  // in 65536ths
    __m512i below = _mm512_mulhi_epu16(part, _mm512_set1_epi16(80));
    below = _mm512_mulhi_epu16(part, _mm512_add_epi16(below, _mm512_set1_epi16(231)));
    below = _mm512_mulhi_epu16(part, _mm512_sub_epi16(_mm512_set1_epi16(313), below));
    const __m512i bits = _mm512_srli_epi16(_mm512_sub_epi16(x, below), 3);
    return (vec)_mm512_add_epi16(bits, _mm512_set1_epi16((127 + LEAST_EXPONENT) << 7));
}
