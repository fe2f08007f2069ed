#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>

#include "attention.h"
#include "exp2.h"

#define ELEMENTS 2
#define PANEL 32
#define DEPTH 32
#define CHUNK_PANELS 8
#define EXP2_POLYNOMIAL EXP2_BF16

VDIT_ISA_BEGIN(VDIT_TARGET_AMX)

#include "vec_avx512.h"
#include "pack.h"
#include "chunk.h"

typedef struct { char unused; } tile_file;

static void configure_tiles(void) {
    struct { uint8_t palette, start_row, reserved[14]; uint16_t row_bytes[16]; uint8_t rows[16]; } file;
    memset(&file, 0, sizeof file);
    file.palette = 1;
    for (int t = 0; t < 8; t++) {
        file.row_bytes[t] = 64;
        file.rows[t] = 16;
    }
    _tile_loadconfig(&file);
}

#define TILES_BEGIN configure_tiles()
#define TILES_END _tile_release()
#define TILE_ZERO(t) ((void)tiles, _tile_zero(t))
#define TILE_LOAD(t, from) ((void)tiles, _tile_loadd(t, from, 64))
#define TILE_STORE(t, to) _tile_stored(t, to, 64)
#define TILE_DOT(sum, a, b) _tile_dpbf16ps(sum, a, b)

#include "attend_amx.h"

VDIT_ISA_END

const vdit_attention vdit_attention_bf16_amx[2] = {
    {"amx", PANEL, panel_bytes, scratch_bytes, pack_keys, pack_values, attend_interleaved, &vdit_attention_bf16_amx[1]},
    {"amx", PANEL, panel_bytes, scratch_bytes, pack_keys, pack_values, attend_phased, NULL},
};

#endif
