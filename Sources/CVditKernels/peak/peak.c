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
#include <string.h>

enum { MOST_OPERANDS = 4 * 512 };  // of 16 bits: four tiles

/// Operands: `fixed`, and random bits where `random` has ones. Products of zeros draw less power than those of numbers,
/// and a core that multiplies zeros keeps a clock that no model sees.
static void fill(uint16_t operands[MOST_OPERANDS], uint16_t fixed, uint16_t random) {
    uint32_t state = 1;
    for (int i = 0; i < MOST_OPERANDS; i++) {
        state = state * 1664525 + 1013904223;
        operands[i] = fixed | ((state >> 16) & random);
    }
}

#define BF16_NUMBERS 0x3f00, 0x807f  // from 0.5 to 1, and from -1 to -0.5
#define BYTES 0, 0xffff

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
    uint16_t operands[MOST_OPERANDS];
    fill(operands, BF16_NUMBERS);
    __m512 x[CHAINS];
    __m512bh a = (__m512bh)_mm512_loadu_si512(operands), b = (__m512bh)_mm512_loadu_si512(operands + 32);
    CHAIN_LOOP(for (int c = 0; c < CHAINS; c++) x[c] = _mm512_set1_ps((float)c),
               x[c] = _mm512_dpbf16_ps(x[c], a, b); __asm__ volatile("" : "+v"(x[c])))
    return 4.0 * 16 * CHAINS * (double)rounds;
}
VDIT_ISA_END

VDIT_ISA_BEGIN(VDIT_TARGET_AVX_VNNI)
double vdit_peak_int8_avx_vnni(int64_t rounds) {
    uint16_t operands[MOST_OPERANDS];
    fill(operands, BYTES);
    __m256i x[CHAINS], *numbers = (__m256i *)operands;
    __m256i a = _mm256_loadu_si256(numbers), b = _mm256_loadu_si256(numbers + 1);
    CHAIN_LOOP(for (int c = 0; c < CHAINS; c++) x[c] = _mm256_set1_epi32(c),
               x[c] = _mm256_dpbusd_avx_epi32(x[c], a, b); __asm__ volatile("" : "+x"(x[c])))
    return 8.0 * 8 * CHAINS * (double)rounds;
}
VDIT_ISA_END

VDIT_ISA_BEGIN(VDIT_TARGET_AVX512_VNNI)
double vdit_peak_int8_avx512_vnni(int64_t rounds) {
    uint16_t operands[MOST_OPERANDS];
    fill(operands, BYTES);
    __m512i x[CHAINS], a = _mm512_loadu_si512(operands), b = _mm512_loadu_si512(operands + 32);
    CHAIN_LOOP(for (int c = 0; c < CHAINS; c++) x[c] = _mm512_set1_epi32(c),
               x[c] = _mm512_dpbusd_epi32(x[c], a, b); __asm__ volatile("" : "+v"(x[c])))
    return 8.0 * 16 * CHAINS * (double)rounds;
}
VDIT_ISA_END

VDIT_ISA_BEGIN(VDIT_TARGET_AMX_INT8)
#include "../tiles.h"

#define TILE_LOOP(NUMBERS, DOT)                        \
    uint16_t operands[MOST_OPERANDS];                  \
    fill(operands, NUMBERS);                           \
    tile_file file, *tiles = &file;                    \
    TILES_BEGIN;                                       \
    TILE_ZERO(0);                                      \
    TILE_ZERO(1);                                      \
    TILE_ZERO(2);                                      \
    TILE_ZERO(3);                                      \
    TILE_LOAD(4, operands);                            \
    TILE_LOAD(5, operands + 512);                      \
    TILE_LOAD(6, operands + 2 * 512);                  \
    TILE_LOAD(7, operands + 3 * 512);                  \
    for (int64_t round = 0; round < rounds; round++) { \
        DOT(0, 4, 6);                                  \
        DOT(1, 4, 7);                                  \
        DOT(2, 5, 6);                                  \
        DOT(3, 5, 7);                                  \
    }                                                  \
    TILES_END

double vdit_peak_bf16_amx(int64_t rounds) {
    TILE_LOOP(BF16_NUMBERS, TILE_DOT);
    return 4.0 * (2.0 * 16 * 16 * 32) * (double)rounds;
}

double vdit_peak_int8_amx(int64_t rounds) {
    TILE_LOOP(BYTES, TILE_DOT_INT8);
    return 4.0 * (2.0 * 16 * 16 * 64) * (double)rounds;
}
VDIT_ISA_END

#endif
