#include "../isa.h"
#include "../kernels.h"

uint64_t vdit_peak_read(const void *data, int64_t bytes) {
    // Eight chains, so that the sums do not wait for each other.
    const uint64_t *words = data;
    uint64_t sum[64] = {0}, all = 0;
    for (int64_t i = 0; i < bytes / 8; i += 64)
        for (int64_t j = 0; j < 64; j++) sum[j] += words[i + j];
    for (int64_t j = 0; j < 64; j++) all += sum[j];
    return all;
}

#if defined(__x86_64__)

#include <immintrin.h>

enum { CHAINS = 12 };  // latency 4 at two a cycle wants 8

// The chain values stay finite: x ← x · 0.5 + 1 tends to 2.
#define CHAIN_LOOP(SETUP, STEP)                                      \
    SETUP;                                                           \
    for (int64_t round = 0; round < rounds; round++) {               \
        _Pragma("clang loop unroll(full)") for (int c = 0; c < CHAINS; c++) { STEP; } \
    }

VDIT_ISA_BEGIN(VDIT_TARGET_AVX2)
double vdit_peak_f32_avx2(int64_t rounds) {
    __m256 x[CHAINS], half = _mm256_set1_ps(0.5f), one = _mm256_set1_ps(1.0f);
    CHAIN_LOOP(for (int c = 0; c < CHAINS; c++) x[c] = _mm256_set1_ps((float)c),
               x[c] = _mm256_fmadd_ps(x[c], half, one); __asm__ volatile("" : "+x"(x[c])))
    return 2.0 * 8 * CHAINS * (double)rounds;
}
VDIT_ISA_END

VDIT_ISA_BEGIN(VDIT_TARGET_AVX512)
double vdit_peak_f32_avx512(int64_t rounds) {
    __m512 x[CHAINS], half = _mm512_set1_ps(0.5f), one = _mm512_set1_ps(1.0f);
    CHAIN_LOOP(for (int c = 0; c < CHAINS; c++) x[c] = _mm512_set1_ps((float)c),
               x[c] = _mm512_fmadd_ps(x[c], half, one); __asm__ volatile("" : "+v"(x[c])))
    return 2.0 * 16 * CHAINS * (double)rounds;
}
VDIT_ISA_END

VDIT_ISA_BEGIN(VDIT_TARGET_AVX512_BF16)
double vdit_peak_bf16_avx512(int64_t rounds) {
    __m512 x[CHAINS];
    __m512bh zero = (__m512bh)_mm512_setzero_si512();
    CHAIN_LOOP(for (int c = 0; c < CHAINS; c++) x[c] = _mm512_set1_ps((float)c),
               x[c] = _mm512_dpbf16_ps(x[c], zero, zero); __asm__ volatile("" : "+v"(x[c])))
    return 4.0 * 16 * CHAINS * (double)rounds;
}
VDIT_ISA_END

VDIT_ISA_BEGIN(VDIT_TARGET_AVX_VNNI)
double vdit_peak_int8_avx_vnni(int64_t rounds) {
    __m256i x[CHAINS], zero = _mm256_setzero_si256();
    CHAIN_LOOP(for (int c = 0; c < CHAINS; c++) x[c] = _mm256_set1_epi32(c),
               x[c] = _mm256_dpbusd_avx_epi32(x[c], zero, zero); __asm__ volatile("" : "+x"(x[c])))
    return 8.0 * 8 * CHAINS * (double)rounds;
}
VDIT_ISA_END

VDIT_ISA_BEGIN(VDIT_TARGET_AVX512_VNNI)
double vdit_peak_int8_avx512_vnni(int64_t rounds) {
    __m512i x[CHAINS], zero = _mm512_setzero_si512();
    CHAIN_LOOP(for (int c = 0; c < CHAINS; c++) x[c] = _mm512_set1_epi32(c),
               x[c] = _mm512_dpbusd_epi32(x[c], zero, zero); __asm__ volatile("" : "+v"(x[c])))
    return 8.0 * 16 * CHAINS * (double)rounds;
}
VDIT_ISA_END

VDIT_ISA_BEGIN(VDIT_TARGET_AMX_INT8)
static void zero_tiles(void) {
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t columns[16];
        uint8_t rows[16];
    } __attribute__((packed, aligned(64))) config = {1, 0, {0}, {0}, {0}};
    for (int t = 0; t < 8; t++) {
        config.columns[t] = 64;
        config.rows[t] = 16;
    }
    _tile_loadconfig(&config);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
}

#define TILE_LOOP(DOT)                                   \
    zero_tiles();                                        \
    for (int64_t round = 0; round < rounds; round++) {   \
        DOT(0, 4, 6);                                    \
        DOT(1, 4, 7);                                    \
        DOT(2, 5, 6);                                    \
        DOT(3, 5, 7);                                    \
    }                                                    \
    _tile_release()

double vdit_peak_bf16_amx(int64_t rounds) {
    TILE_LOOP(_tile_dpbf16ps);
    return 4.0 * (2.0 * 16 * 16 * 32) * (double)rounds;
}

double vdit_peak_int8_amx(int64_t rounds) {
    TILE_LOOP(_tile_dpbssd);
    return 4.0 * (2.0 * 16 * 16 * 64) * (double)rounds;
}
VDIT_ISA_END

#endif
