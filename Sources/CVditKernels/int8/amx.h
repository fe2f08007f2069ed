// Products by tiles. Included inside an ISA region after ../fetch.h and the tile instructions (tiles*.h).

enum { GROUP_PAIRS = 16, OFFSET = 0 };

#define BLOCK_DOT TILE_DOT_INT8
#include "../product/tile_blocks.h"

static void multiply_group(const group_product *p) {
    int32_t offsets[VDIT_INT8_MOST_INPUTS / DEPTH];
    for (int64_t s = 0; s < p->steps; s++) offsets[s] = (int32_t)(s * DEPTH);
    const vdit_tile_product product = {
        .rows = p->rows, .row_bytes = p->row_bytes, .tile_bytes = 16 * p->row_bytes, .steps = offsets,
        .step_count = (int32_t)p->steps, .row_tiles = (int32_t)parts_of(p->row_count, 16), .matrix = p->matrix,
        .column_tiles = (int32_t)p->pairs * 2, .sums = (float *)p->sums, .sum_row = p->sum_row,
        .sum_tile = 16 * p->sum_row, .sum_column = 16};
    tile_file file, *tiles = &file;
    TILES_BEGIN;
    multiply_pairs(tiles, &product, 0, p->pairs);
    TILES_END;
}
