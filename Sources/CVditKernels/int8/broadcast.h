// Products by broadcasts: four bytes of a row with a line of a column tile, for any vector width. Included inside an
// ISA region after ../fetch.h, LANES of a vector, TALL rows and TILES column tiles summed at once, and dot_*.h:
//
//   ints              a vector of sums, 32 bits each
//   i_zero, i_load, i_store, i_broadcast, i_floats
//   i_dot(sum, a, b)  sum += a · b over fours of bytes, a unsigned and b signed

enum {
    VECTORS = 16 / LANES,        // of a line
    BLOCK = 24 / TILES,          // steps: 24 KiB of column tiles stay in the first-level cache while all rows pass
    GROUP_PAIRS = (TILES + 1) / 2,
    OFFSET = 128,
};

/// Adds some steps of one or more rows and column tiles to their sums; sets them where these are the first.
VDIT_INLINE void add_steps(
    const int rows, const int tiles, const group_product *p, int64_t row, const char *matrix, int64_t from, int64_t to,
    int32_t *sums) {
    const int64_t pair_bytes = p->steps * STEP_BYTES;
    const uint8_t *values = p->rows + row * p->row_bytes;
    ints sum[TALL][TILES * VECTORS];
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
        for (int v = 0; v < tiles * VECTORS; v++)
            sum[r][v] = from == 0 ? i_zero() : i_load(sums + r * p->sum_row + v * LANES);
    for (int64_t s = from; s < to; s++) {
        const char *step = matrix + s * STEP_BYTES;
#pragma clang loop unroll_count(2)
        for (int u = 0; u < DEPTH / 4; u++) {
            ints line[TILES * VECTORS];
#pragma clang loop unroll(full)
            for (int v = 0; v < tiles * VECTORS; v++) {
                const int tile = v / VECTORS, part = v % VECTORS * LANES * 4;
                line[v] = i_load(step + tile / 2 * pair_bytes + tile % 2 * TILE_BYTES + u * LINE + part);
            }
#pragma clang loop unroll(full)
            for (int r = 0; r < rows; r++) {
                ints four = i_broadcast(values + r * p->row_bytes + s * DEPTH + u * 4);
#pragma clang loop unroll(full)
                for (int v = 0; v < tiles * VECTORS; v++) sum[r][v] = i_dot(sum[r][v], four, line[v]);
            }
        }
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
        for (int v = 0; v < tiles * VECTORS; v++) i_store(sums + r * p->sum_row + v * LANES, sum[r][v]);
}

/// All rows with `tiles` column tiles from `tile` on, over a block of steps.
VDIT_INLINE void multiply_block(
    const int tiles, const group_product *p, int64_t tile, int64_t from, int64_t to, fetching *f) {
    const char *matrix = p->matrix + tile / 2 * p->steps * STEP_BYTES + tile % 2 * TILE_BYTES;
    int32_t *sums = p->sums + tile * 16;
    int64_t row = 0;
#define ROWS(count)                                                                                   \
    add_steps(count, tiles, p, row, matrix, from, to, sums + row * p->sum_row), row += count;         \
    for (int pair = 0; pair < GROUP_PAIRS; pair++) fetch_some(&f[pair])
    while (p->row_count - row >= TALL) { ROWS(TALL); }
    if (p->row_count - row >= 4 && TALL > 4) { ROWS(4); }
    if (p->row_count - row >= 2) { ROWS(2); }
    if (p->row_count - row >= 1) { ROWS(1); }
#undef ROWS
}

static void multiply_group(const group_product *p) {
    const int64_t blocks = parts_of(p->steps, BLOCK), pair_bytes = p->steps * STEP_BYTES;
    for (int64_t block = 0; block < blocks; block++) {
        const int64_t from = p->steps * block / blocks, to = p->steps * (block + 1) / blocks;
        // The next block, or the first one of the next group.
        const int is_last = block + 1 == blocks;
        const int64_t next = is_last ? p->pairs : 0, begin = is_last ? 0 : to;
        const int64_t lines = parts_of(p->steps, blocks) * STEP_BYTES / LINE;
        const int64_t calls = (p->row_count / TALL + 1) * (p->pairs * 2 > TILES ? 2 : 1);
        fetching f[GROUP_PAIRS];
        for (int pair = 0; pair < GROUP_PAIRS; pair++) {
            const char *line = p->matrix + (next + pair) * pair_bytes + begin * STEP_BYTES;
            const int64_t count = next + pair < p->pairs_left ? lines : 0;
            f[pair] = (fetching){line, line + count * LINE, (int)parts_of(lines, calls)};
        }
        int64_t tile = 0;
        for (; tile + TILES <= p->pairs * 2; tile += TILES) multiply_block(TILES, p, tile, from, to, f);
        if (tile < p->pairs * 2) multiply_block(TILES < 2 ? 1 : 2, p, tile, from, to, f);
    }
}
