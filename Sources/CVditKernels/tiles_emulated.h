// The tile instructions of tiles.h in AVX-512 BF16, so that tests on any such CPU run the kernels' logic.

typedef struct { __m512 line[8][16]; } tile_file;

VDIT_INLINE void tile_dot(__m512 *sum, const __m512 *a, const __m512 *b) {
    for (int row = 0; row < 16; row++)
        for (int pair = 0; pair < 16; pair++) {
            __m512 unit = _mm512_permutexvar_ps(_mm512_set1_epi32(pair), a[row]);
            sum[row] = _mm512_dpbf16_ps(sum[row], (__m512bh)unit, (__m512bh)b[pair]);
        }
}

VDIT_INLINE void tile_dot_int8(__m512 *sum, const __m512 *a, const __m512 *b) {
    int32_t sums[16][16];
    int8_t rows[16][64], columns[16][64];
    memcpy(sums, sum, sizeof sums);
    memcpy(rows, a, sizeof rows);
    memcpy(columns, b, sizeof columns);
    for (int row = 0; row < 16; row++)
        for (int four = 0; four < 16; four++)
            for (int column = 0; column < 16; column++)
                for (int i = 0; i < 4; i++)
                    sums[row][column] += rows[row][four * 4 + i] * columns[four][column * 4 + i];
    memcpy(sum, sums, sizeof sums);
}

VDIT_INLINE void tile_load(__m512 *tile, const void *from, int64_t bytes) {
    for (int row = 0; row < 16; row++) tile[row] = _mm512_loadu_ps((const char *)from + row * bytes);
}

VDIT_INLINE void tile_store(const __m512 *tile, void *to, int64_t bytes) {
    for (int row = 0; row < 16; row++) _mm512_storeu_ps((char *)to + row * bytes, tile[row]);
}

#define TILES_BEGIN memset(tiles, 0xff, sizeof *tiles)  // NaN: nothing may be used before it is set
#define TILES_END ((void)0)
#define TILE_ZERO(t) memset(tiles->line[t], 0, 1024)
#define TILE_LOAD_ROWS(t, from, bytes) tile_load(tiles->line[t], from, bytes)
#define TILE_STORE_ROWS(t, to, bytes) tile_store(tiles->line[t], to, bytes)
#define TILE_LOAD(t, from) TILE_LOAD_ROWS(t, from, 64)
#define TILE_STORE(t, to) TILE_STORE_ROWS(t, to, 64)
#define TILE_DOT(sum, a, b) tile_dot(tiles->line[sum], tiles->line[a], tiles->line[b])
#define TILE_DOT_INT8(sum, a, b) tile_dot_int8(tiles->line[sum], tiles->line[a], tiles->line[b])
