// Sums of products by tiles, a block at a time. Included inside an ISA region after the tile instructions (tiles*.h),
// fetch.h, TILE_BYTES and STEP_BYTES (of a tile; of a step of a pair of column tiles), and BLOCK_DOT, which of the
// instructions multiplies.
//
// A matrix lies as [pair of column tiles][step][2] tiles. A block of 32 steps of such a pair, 64 KiB, takes all rows;
// both come from the second-level cache, where the next block is fetched meanwhile. Half of it would stay in the first,
// but sums are stored and loaded once a block, and that costs more.

enum { BLOCK = 32 };  // steps

/// Adds steps from ..< to of one or two row tiles and two column tiles to their sums; sets them where from is 0.
VDIT_INLINE void add_block(
    const int tall, tile_file *tiles, const vdit_tile_product *p, int32_t row_tile, const char *matrix, int32_t from,
    int32_t to, float *sums, fetching *f) {
    const char *rows = (const char *)p->rows + row_tile * p->tile_bytes;
    float *right = sums + p->sum_column, *below = sums + p->sum_tile;
    const int64_t bytes = p->sum_row * 4;
    if (from == 0) {
        TILE_ZERO(0);
        TILE_ZERO(1);
        if (tall) TILE_ZERO(2);
        if (tall) TILE_ZERO(3);
    } else {
        TILE_LOAD_ROWS(0, sums, bytes);
        TILE_LOAD_ROWS(1, right, bytes);
        if (tall) TILE_LOAD_ROWS(2, below, bytes);
        if (tall) TILE_LOAD_ROWS(3, below + p->sum_column, bytes);
    }
    for (int32_t s = from; s < to; s++, matrix += STEP_BYTES) {
        const char *operands = rows + p->steps[s];
        TILE_LOAD_ROWS(4, operands, p->row_bytes);
        TILE_LOAD(6, matrix);
        TILE_LOAD(7, matrix + TILE_BYTES);
        if (tall) TILE_LOAD_ROWS(5, operands + p->tile_bytes, p->row_bytes);
        BLOCK_DOT(0, 4, 6);
        BLOCK_DOT(1, 4, 7);
        if (tall) BLOCK_DOT(2, 5, 6);
        if (tall) BLOCK_DOT(3, 5, 7);
        fetch_some(f);
    }
    TILE_STORE_ROWS(0, sums, bytes);
    TILE_STORE_ROWS(1, right, bytes);
    if (tall) TILE_STORE_ROWS(2, below, bytes);
    if (tall) TILE_STORE_ROWS(3, below + p->sum_column, bytes);
}

/// All rows of pairs first ..< end of column tiles. Sums begin at those of the first.
static void multiply_pairs(tile_file *tiles, const vdit_tile_product *p, int64_t first, int64_t end) {
    const char *matrix = p->matrix;
    const int32_t blocks = (p->step_count + BLOCK - 1) / BLOCK;
    for (int32_t block = 0; block < blocks; block++) {
        const int32_t from = p->step_count * block / blocks, to = p->step_count * (block + 1) / blocks;
        for (int64_t pair = first; pair < end; pair++) {
            const char *now = matrix + (pair * p->step_count + from) * STEP_BYTES;
            // The block of the next pair, or the next block of the first one.
            const char *next = pair + 1 < end ? now + (int64_t)p->step_count * STEP_BYTES
                                              : matrix + (first * p->step_count + to) * STEP_BYTES;
            const int products = (p->row_tiles + 1) / 2 * (to - from), lines = (to - from) * STEP_BYTES / 64;
            fetching f = {next, next + lines * 64, (lines + products - 1) / products};
            float *sums = p->sums + (pair - first) * 2 * p->sum_column;
            int32_t row = 0;
            for (; row + 1 < p->row_tiles; row += 2)
                add_block(1, tiles, p, row, now, from, to, sums + row * p->sum_tile, &f);
            if (row < p->row_tiles) add_block(0, tiles, p, row, now, from, to, sums + row * p->sum_tile, &f);
        }
    }
}
