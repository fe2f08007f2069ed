// Sums of products of bytes in AVX-512 VNNI. Included inside an ISA region; broadcast.h says what these are.

typedef __m512i ints;

VDIT_INLINE ints i_zero(void) { return _mm512_setzero_si512(); }
VDIT_INLINE ints i_load(const void *from) { return _mm512_loadu_si512(from); }
VDIT_INLINE void i_store(void *to, ints x) { _mm512_storeu_si512(to, x); }
VDIT_INLINE ints i_broadcast(const void *from) { return _mm512_broadcastd_epi32(_mm_loadu_si32(from)); }
VDIT_INLINE __m512 i_floats(ints x) { return _mm512_cvtepi32_ps(x); }
VDIT_INLINE ints i_dot(ints sum, ints a, ints b) { return _mm512_dpbusd_epi32(sum, a, b); }
