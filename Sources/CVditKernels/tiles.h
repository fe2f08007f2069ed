// The tile instructions of AMX. Included inside an ISA region.
//
//   tile_file              their state, where they are done in software
//   TILES_BEGIN, TILES_END configure eight tiles of 16 rows × 64 bytes; release them
//   TILE_ZERO(t) TILE_LOAD(t, from) TILE_STORE(t, to)   a tile of 1 KiB in memory
//   TILE_LOAD_ROWS(t, from, bytes), TILE_STORE_ROWS     its rows `bytes` apart
//   TILE_DOT(sum, a, b)    sum[16][16] += a[16][16 pairs] × b[16 pairs][16] of bf16, in f32
//   TILE_DOT_INT8          the same of fours of signed bytes, in i32

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
#define TILE_LOAD_ROWS(t, from, bytes) ((void)tiles, _tile_loadd(t, from, bytes))
#define TILE_STORE_ROWS(t, to, bytes) _tile_stored(t, to, bytes)
#define TILE_LOAD(t, from) TILE_LOAD_ROWS(t, from, 64)
#define TILE_STORE(t, to) TILE_STORE_ROWS(t, to, 64)
#define TILE_DOT(sum, a, b) _tile_dpbf16ps(sum, a, b)
#define TILE_DOT_INT8(sum, a, b) _tile_dpbssd(sum, a, b)
