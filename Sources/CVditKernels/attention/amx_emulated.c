#if defined(__x86_64__)

// The AMX kernel with its tile instructions in AVX-512, so that tests on any such CPU run its logic.

#include <immintrin.h>
#include <math.h>

#include "attention.h"
#include "exp2.h"

#define ELEMENTS 2
#define PANEL 32
#define DEPTH 32
#define CHUNK_PANELS 8
#define EXP2_POLYNOMIAL EXP2_BF16

VDIT_ISA_BEGIN(VDIT_TARGET_AVX512_BF16)

#include "vec_avx512.h"
#include "pack.h"
#include "chunk.h"

typedef struct { __m512 line[8][16]; } tile_file;

VDIT_INLINE void tile_dot(__m512 *sum, const __m512 *a, const __m512 *b) {
    for (int row = 0; row < 16; row++)
        for (int pair = 0; pair < 16; pair++) {
            __m512 unit = _mm512_permutexvar_ps(_mm512_set1_epi32(pair), a[row]);
            sum[row] = v_dot(sum[row], unit, b[pair]);
        }
}

#define TILES_BEGIN memset(tiles, 0xff, sizeof *tiles)  // NaN: nothing may be used before it is set
#define TILES_END ((void)0)
#define TILE_ZERO(t) memset(tiles->line[t], 0, 1024)
#define TILE_LOAD(t, from) memcpy(tiles->line[t], from, 1024)
#define TILE_STORE(t, to) memcpy(to, tiles->line[t], 1024)
#define TILE_DOT(sum, a, b) tile_dot(tiles->line[sum], tiles->line[a], tiles->line[b])

#include "attend_amx.h"

VDIT_ISA_END

const vdit_attention vdit_attention_bf16_amx_emulated[2] = {
    {"amx-emulated-interleaved", PANEL, panel_bytes, scratch_bytes, pack_keys, pack_values, attend_interleaved,
     &vdit_attention_bf16_amx_emulated[1]},
    {"amx-emulated", PANEL, panel_bytes, scratch_bytes, pack_keys, pack_values, attend_phased, NULL},
};

#endif
