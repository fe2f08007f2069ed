// Sums of products of bytes in AVX2, which has no instruction for four of them: as pairs of 16-bit numbers, twice.
// (vpmaddubsw would add two products in 16 bits, where they do not fit.) Included inside an ISA region; broadcast.h
// says what these are.

typedef __m256i ints;

VDIT_INLINE ints i_zero(void) { return _mm256_setzero_si256(); }
VDIT_INLINE ints i_load(const void *from) { return _mm256_loadu_si256(from); }
VDIT_INLINE void i_store(void *to, ints x) { _mm256_storeu_si256(to, x); }
VDIT_INLINE ints i_broadcast(const void *from) { return _mm256_broadcastd_epi32(_mm_loadu_si32(from)); }
VDIT_INLINE __m256 i_floats(ints x) { return _mm256_cvtepi32_ps(x); }

VDIT_INLINE ints i_dot(ints sum, ints a, ints b) {
    ints even = _mm256_madd_epi16(
        _mm256_and_si256(a, _mm256_set1_epi16(0xff)), _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8));
    ints odd = _mm256_madd_epi16(_mm256_srli_epi16(a, 8), _mm256_srai_epi16(b, 8));
    return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}
