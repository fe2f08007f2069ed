#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

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

typedef void attend_function(const vdit_attend_call *);

/// Fewest cycles of a few runs over 128 queries and 2048 keys, all zeros.
static uint64_t fewest_cycles(attend_function *attend) {
    enum { HEAD_DIM = 128, KEYS = 2048, ROUNDS = 5 };
    int64_t panels = KEYS / PANEL * panel_bytes(HEAD_DIM), scratch = scratch_bytes(HEAD_DIM);
    int64_t rows = VDIT_ATTEND_ROWS * HEAD_DIM * 4;
    char *memory = aligned_alloc(64, (size_t)((2 * panels + scratch + 2 * rows + 63) & ~63));
    if (!memory) return 0;
    memset(memory, 0, (size_t)(2 * panels + scratch + 2 * rows));
    const int32_t block_panel[] = {0, KEYS / PANEL}, block_keys[] = {0, KEYS}, kept[] = {0};
    char *q = memory + 2 * panels + scratch;
    vdit_attend_call call = {
        .q = {q, VDIT_BF16, HEAD_DIM, NULL, 0}, .rows = VDIT_ATTEND_ROWS, .head_dim = HEAD_DIM, .scale = 1,
        .keys = memory, .values = memory + panels, .block_panel = block_panel, .block_keys = block_keys,
        .kept = kept, .kept_count = 1, .out = q + rows, .out_type = VDIT_F32, .out_stride = HEAD_DIM,
        .scratch = memory + 2 * panels};
    uint64_t fewest = UINT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = __rdtsc();
        attend(&call);
        uint64_t cycles = __rdtsc() - start;
        if (cycles < fewest) fewest = cycles;
    }
    free(memory);
    return fewest;
}

/// In the order of work that is faster on this CPU, tried once; about a millisecond. Both give the same bits.
static void attend(const vdit_attend_call *call) {
    static _Atomic(attend_function *) faster;
    attend_function *chosen = faster;
    if (!chosen) {
        chosen = fewest_cycles(attend_interleaved) <= fewest_cycles(attend_phased) ? attend_interleaved : attend_phased;
        faster = chosen;
    }
    chosen(call);
}

const vdit_attention vdit_attention_bf16_amx = {
    "amx", PANEL, panel_bytes, scratch_bytes, pack_keys, pack_values, attend,
};

#endif
