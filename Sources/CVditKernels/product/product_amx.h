// Products by 16 × 16 tiles. Included inside an ISA region after the tile instructions (tiles_*.h) and fetch.h.
//
// A matrix is packed in tiles (tile_pack.h): 16 pairs of the depth × 16 columns.

enum { GROUP_PAIRS = 16 };  // of column tiles, whose sums a linear layer has under way

static int64_t packed_bytes(int64_t columns, int64_t depth) { return tile_bytes(columns, 2 * depth); }

static void pack(const void *matrix, int64_t first, int64_t count, int64_t depth, void *packed) {
    pack_columns(matrix, first, count, 2 * depth, packed);
}

#define BLOCK_DOT TILE_DOT
#include "tile_blocks.h"

static void multiply(const vdit_tile_product *p) {
    tile_file file, *tiles = &file;
    TILES_BEGIN;
    multiply_pairs(tiles, p, 0, p->column_tiles / 2);
    TILES_END;
}

/// x / (1 + 2^(-sharpness)) for sharpness in units of log 2.
VDIT_INLINE __m512 gated(__m512 x, __m512 sharpness) {
    __m512 least = _mm512_set1_ps(-126.0f), most = _mm512_set1_ps(126.0f);
    __m512 power = _mm512_sub_ps(_mm512_setzero_ps(), sharpness);
    power = _mm512_min_ps(most, _mm512_max_ps(least, power));
    __m512 whole = _mm512_roundscale_ps(power, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 part = _mm512_sub_ps(power, whole);
#define STEP(sum, coefficient) _mm512_fmadd_ps(sum, part, _mm512_set1_ps(coefficient))
    __m512 raised = _mm512_scalef_ps(EXP2_FLOAT(_mm512_set1_ps, STEP), whole);
#undef STEP
    return _mm512_div_ps(x, _mm512_add_ps(_mm512_set1_ps(1), raised));
}

VDIT_INLINE __m512 activated(__m512 x, vdit_activation activation) {
    const float log2_e = 1.44269504f;
    if (activation == VDIT_SILU) return gated(x, _mm512_mul_ps(x, _mm512_set1_ps(log2_e)));
    if (activation == VDIT_GELU_TANH) {  // x / (1 + exp(-2 √(2/π) (x + 0.044715 x³)))
        __m512 cubic = _mm512_mul_ps(_mm512_mul_ps(x, x), _mm512_set1_ps(0.044715f));
        __m512 inner = _mm512_mul_ps(_mm512_fmadd_ps(cubic, x, x), _mm512_set1_ps(1.59576912f * log2_e));
        return gated(x, inner);
    }
    return x;
}

/// The outputs of a pair of column tiles, from its sums.
VDIT_INLINE void write_outputs(const vdit_linear_call *call, const vdit_tile_product *p, int64_t pair, const float *sums) {
    for (int64_t half = 0; half < 2; half++) {
        const int64_t first = pair * 32 + half * 16, count = call->outputs - first;
        if (count <= 0) return;
        const __mmask16 mask = count >= 16 ? 0xffff : (__mmask16)((1u << count) - 1);
        const __m512 bias = call->bias ? _mm512_maskz_loadu_ps(mask, call->bias + first) : _mm512_setzero_ps();
        for (int64_t row = 0; row < call->rows; row++) {
            const float *from = sums + row / 16 * p->sum_tile + half * p->sum_column + row % 16 * p->sum_row;
            __m512 value = activated(_mm512_add_ps(_mm512_loadu_ps(from), bias), call->activation);
            const int64_t at = row * call->outputs + first;
            if (call->y_type == VDIT_F32)
                _mm512_mask_storeu_ps((float *)call->y + at, mask, value);
            else
                _mm256_mask_storeu_epi16((uint16_t *)call->y + at, mask, (__m256i)_mm512_cvtneps_pbh(value));
        }
    }
}

/// Rows as whole tiles, then the sums of a group, then the steps.
static int64_t scratch_bytes(int64_t rows, int64_t inputs) {
    int64_t tiles = parts_of(rows, 16), steps = parts_of(inputs, 32);
    return tiles * (steps + GROUP_PAIRS * 2) * TILE_BYTES + parts_of(steps * 4, 64) * 64;
}

/// [row tile][step] tiles of x, zeros beyond its edges.
static void pack_rows(const vdit_linear_call *call, int64_t tiles, int64_t steps, char *to) {
    const int64_t bytes = call->inputs * 2;
    for (int64_t row = 0; row < tiles * 16; row++) {
        char *line = to + row / 16 * steps * TILE_BYTES + row % 16 * 64;
        const char *from = (const char *)call->x + row * bytes;
        for (int64_t s = 0; s < steps; s++, line += TILE_BYTES) {
            const int64_t left = row < call->rows ? bytes - s * 64 : 0;
            const __mmask32 mask = left >= 64 ? ~0u : left <= 0 ? 0 : (1u << (left / 2)) - 1;
            _mm512_store_si512(line, _mm512_maskz_loadu_epi16(mask, from + s * 64));
        }
    }
}

static void linear(const vdit_linear_call *call) {
    const int64_t tiles_down = parts_of(call->rows, 16), steps = parts_of(call->inputs, 32);
    const int64_t pairs = parts_of(call->outputs, 32);
    char *rows = call->scratch;
    float *sums = (float *)(rows + tiles_down * steps * TILE_BYTES);
    int32_t *offsets = (int32_t *)(sums + tiles_down * GROUP_PAIRS * 2 * (TILE_BYTES / 4));
    for (int64_t s = 0; s < steps; s++) offsets[s] = (int32_t)(s * TILE_BYTES);
    pack_rows(call, tiles_down, steps, rows);
    const vdit_tile_product product = {
        .rows = rows, .row_bytes = 64, .tile_bytes = steps * TILE_BYTES, .steps = offsets, .step_count = (int32_t)steps,
        .row_tiles = (int32_t)tiles_down, .matrix = call->matrix, .column_tiles = (int32_t)pairs * 2, .sums = sums,
        .sum_row = 16, .sum_tile = GROUP_PAIRS * 2 * (TILE_BYTES / 4), .sum_column = TILE_BYTES / 4};
    tile_file file, *tiles = &file;
    TILES_BEGIN;
    for (int64_t first = 0; first < pairs; first += GROUP_PAIRS) {
        const int64_t end = first + GROUP_PAIRS < pairs ? first + GROUP_PAIRS : pairs;
        multiply_pairs(tiles, &product, first, end);
        for (int64_t pair = first; pair < end; pair++)
            write_outputs(call, &product, pair, sums + (pair - first) * 2 * product.sum_column);
    }
    TILES_END;
}
