// Sums of products of bytes in AVX-VNNI. Included inside an ISA region; broadcast.h says what these are.

typedef __m256i ints;

VDIT_INLINE ints i_zero(void) { return _mm256_setzero_si256(); }
VDIT_INLINE ints i_load(const void *from) { return _mm256_loadu_si256(from); }
VDIT_INLINE void i_store(void *to, ints x) { _mm256_storeu_si256(to, x); }
VDIT_INLINE ints i_broadcast(const void *from) { return _mm256_broadcastd_epi32(_mm_loadu_si32(from)); }
VDIT_INLINE __m256 i_floats(ints x) { return _mm256_cvtepi32_ps(x); }
VDIT_INLINE ints i_dot(ints sum, ints a, ints b) { return _mm256_dpbusd_avx_epi32(sum, a, b); }
