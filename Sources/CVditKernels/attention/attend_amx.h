// Block-sparse attention of one query block by 16 × 16 tiles. Queries, scores, weights and output lie in
// memory as whole tiles of 1 KiB, so that every tile load and store is sixteen consecutive lines.
// Included inside an ISA region after vec_avx512.h, pack.h, scores_*.h, chunk.h, the tile instructions (tiles_*.h),
// fetch.h and score_tiles_*.h.
//
// A strip of 32 rows takes a chunk of keys: scores of a panel, then, while the tile unit works on the next panel's
// scores, its weights; when the chunk is through, the strip's output. Scores and weights under way fit the
// first-level cache; keys and values come from the second, where they are fetched a chunk ahead.

enum {
    TILE = 256,  // units, or floats, of a tile
    STRIP = 32,  // rows
};

typedef struct {
    const vdit_attend_call *call;
    int32_t rows, depth, columns;  // depth of a query row and columns of an output row, in tiles
    float scale;                   // of scores, times log2(e)
    uint32_t *q;                   // [row tile][depth] tiles
    float *out;                    // [row tile][columns] tiles, sums of weight * value
    float *scores[2];              // [2 groups of keys][2 row tiles] tiles, of alternate panels
    uint32_t *weights;             // [CHUNK_PANELS][2 row tiles] tiles
    float *total;                  // [VDIT_ATTEND_ROWS][LANES], sums of weights
    float *reference;              // [VDIT_ATTEND_ROWS], subtracted from scores; in units of log 2
    float *factor;                 // [VDIT_ATTEND_ROWS], of the products of a row
} work;

VDIT_INLINE int32_t depth_tiles(int32_t head_dim) { return depth_units(head_dim) / GROUP; }
VDIT_INLINE int32_t column_tiles(int32_t head_dim) { return padded_columns(head_dim) / GROUP; }

static int64_t scratch_bytes(int32_t head_dim) {
    int64_t tiles = VDIT_ATTEND_ROWS / 16 * (depth_tiles(head_dim) + column_tiles(head_dim));
    tiles += 2 * 4 + CHUNK_PANELS * 2;
    return (tiles * TILE + VDIT_ATTEND_ROWS * (LANES + 2)) * 4;
}

VDIT_INLINE work divided(const vdit_attend_call *call) {
    work w = {
        .call = call, .rows = call->rows, .depth = depth_tiles(call->head_dim), .columns = column_tiles(call->head_dim),
        .scale = call->scale * LOG2_E};
    w.out = call->scratch;
    w.scores[0] = w.out + VDIT_ATTEND_ROWS / 16 * w.columns * TILE;
    w.scores[1] = w.scores[0] + 4 * TILE;
    w.weights = (uint32_t *)(w.scores[1] + 4 * TILE);
    w.q = w.weights + CHUNK_PANELS * 2 * TILE;
    w.total = (float *)(w.q + VDIT_ATTEND_ROWS / 16 * w.depth * TILE);
    w.reference = w.total + VDIT_ATTEND_ROWS * LANES;
    w.factor = w.reference + VDIT_ATTEND_ROWS;
    return w;
}

/// Row tiles of a strip that hold rows: 2, or 1 at the end.
VDIT_INLINE int row_tiles(const work *w, int32_t strip) { return w->rows - strip * STRIP > 16 ? 2 : 1; }

/// The next chunk on its way into the second-level cache.
typedef struct {
    const chunk *keys;  // NULL: nothing
    fetching now;       // the part under way
    int part;           // the next: keys and values of each panel
    int bytes[2];       // of a part: of keys, of values
} fetching_chunk;

static fetching_chunk begin_fetching(const work *w, const chunk *keys, int strips) {
    int products = strips * (w->depth + (w->columns + 1) / 2), dim = w->call->head_dim;
    fetching_chunk f = {.keys = keys, .bytes = {(int)key_bytes(dim), (int)value_bytes(dim)}};
    f.now.lines = ((f.bytes[0] + f.bytes[1]) / 64 + products - 1) / products;
    return f;
}

static __attribute__((noinline)) void fetch_next_part(fetching_chunk *f) {
    if (!f->keys || f->part >= 2 * f->keys->count) return;
    const key_panel *panel = &f->keys->panels[f->part / 2];
    f->now.line = (const char *)(f->part % 2 ? panel->values : panel->keys);
    f->now.end = f->now.line + f->bytes[f->part % 2];
    f->part++;
}

VDIT_INLINE void fetch_some_keys(fetching_chunk *f) {
    if (f->now.line >= f->now.end) fetch_next_part(f);
    fetch_some(&f->now);
}

// Tiles 0 to 3 are sums, 4 and 5 rows of the left operand, 6 and 7 columns of the right.

/// Scores of a strip's rows and a panel's keys.
VDIT_INLINE void score(
    const int tall, tile_file *tiles, const uint32_t *q, int32_t depth, const uint32_t *keys, float *scores,
    fetching_chunk *f) {
    TILE_ZERO(0);
    TILE_ZERO(1);
    if (tall) TILE_ZERO(2);
    if (tall) TILE_ZERO(3);
    for (int32_t d = 0; d < depth; d++) {
        TILE_LOAD(4, q + d * TILE);
        TILE_LOAD(6, keys + d * TILE);
        TILE_LOAD(7, keys + (depth + d) * TILE);
        if (tall) TILE_LOAD(5, q + (depth + d) * TILE);
        SCORE_DOT(0, 4, 6);
        SCORE_DOT(1, 4, 7);
        if (tall) SCORE_DOT(2, 5, 6);
        if (tall) SCORE_DOT(3, 5, 7);
        fetch_some_keys(f);
    }
    TILE_STORE(0, scores);
    TILE_STORE(1, scores + 2 * TILE);
    if (tall) TILE_STORE(2, scores + TILE);
    if (tall) TILE_STORE(3, scores + 3 * TILE);
}

/// Adds the biases and hides what a panel holds beyond its keys, in scores that are floats.
static void adjust(const work *w, const key_panel *panel, float *scores, int32_t rows) {
    float adjustment[PANEL] __attribute__((aligned(64)));
    adjustments(panel, LOG2_E / w->scale, adjustment);
    for (int group = 0; group < PANEL / GROUP; group++, scores += 2 * TILE) {
        vec line = v_load(adjustment + group * GROUP);
        for (int32_t row = 0; row < rows; row++) {
            float *to = scores + row * GROUP;
            v_store(to, v_add(v_load(to), line));
        }
    }
}

/// Moves the reference of a row of a strip, whose weights of `panels` panels of the chunk are made: to its first
/// largest score, then by whole numbers, so that everything made with the old one is scaled without an error.
static __attribute__((noinline)) void rescale(const work *w, int32_t row, float largest, int panels) {
    int first = w->reference[row] == MASKED;
    float step = ceilf(largest - w->reference[row]), factor = first ? 0 : exp2f(-step);
    w->reference[row] = first ? largest : w->reference[row] + step;
    for (int32_t i = 0; i < LANES; i++) w->total[row * LANES + i] *= factor;
    rescale_mass_sums(w->call, row, factor);
    float *out = w->out + row / 16 * w->columns * TILE + row % 16 * GROUP;
    for (int32_t c = 0; c < w->columns; c++)
        for (int32_t i = 0; i < GROUP; i++) out[c * TILE + i] *= factor;
    for (int p = 0; p < panels; p++) {
        any_bf16 *weights = (any_bf16 *)(w->weights + p * 2 * TILE + row % STRIP * GROUP);
        for (int i = 0; i < PANEL; i++) {
            uint32_t bits = (uint32_t)weights[i] << 16;
            float weight;
            memcpy(&weight, &bits, 4);
            weights[i] = rounded_bf16(weight * factor);
        }
    }
}

/// A row's scores of a panel less a reference, in units of log 2.
VDIT_INLINE void exponents(
    const work *w, const key_panel *panel, const float *pair, int32_t row, const float *late, float reference, vec *low,
    vec *high) {
    const int32_t units = w->depth * GROUP;
    const vec factor = v_set(w->factor[row]), less = v_set(reference);
    *low = s_exponent(pair, factor, less, panel->keys, units, 0);
    *high = s_exponent(pair + 2 * TILE, factor, less, panel->keys, units, GROUP);
    if (late) {
        *low = v_add(*low, v_load(late));
        *high = v_add(*high, v_load(late + GROUP));
    }
}

/// Weights of a strip's rows and panel `p` of the chunk, 2^(scale * score - reference), as bf16 pairs; adds them to
/// the totals. The strip must have all of its output of the chunks before.
static void weigh(const work *w, const key_panel *panel, int32_t strip, int p) {
    int32_t first = strip * STRIP, rows = row_tiles(w, strip) * GROUP;
    float *scores = w->scores[p & 1], *total = w->total + first * LANES;
    uint32_t *weights = w->weights + p * 2 * TILE;
    float adjustment[PANEL] __attribute__((aligned(64)));
    const float *late = NULL;
    if (needs_adjusting(panel)) {
        if (SCORES_ARE_FLOATS) {
            adjust(w, panel, scores, rows);
        } else {
            adjustments(panel, LOG2_E, adjustment);
            late = adjustment;
        }
    }
    vec most = v_set(SLACK), low, high;
    for (int32_t row = 0; row < rows; row++) {
        const float *pair = scores + row * GROUP;
        exponents(w, panel, pair, first + row, late, w->reference[first + row], &low, &high);
        if (__builtin_expect(v_any_above(v_max(low, high), most), 0)) {
            exponents(w, panel, pair, first + row, late, 0, &low, &high);
            rescale(w, first + row, v_largest(v_max(low, high)), p);
            exponents(w, panel, pair, first + row, late, w->reference[first + row], &low, &high);
        }
        float *sum = total + row * LANES;
        v_store(sum, v_store_weight_pair(weights + row * GROUP, v_exp2(low), v_exp2(high), v_load(sum)));
    }
}

VDIT_INLINE void value_columns(
    const int tall, const int wide, tile_file *tiles, const work *w, const chunk *keys, int32_t column, float *out,
    fetching_chunk *f) {
    enum { COLUMN = PANEL / ELEMENTS * GROUP };
    float *below = out + w->columns * TILE;
    TILE_LOAD(0, out);
    if (wide) TILE_LOAD(1, out + TILE);
    if (tall) TILE_LOAD(2, below);
    if (tall && wide) TILE_LOAD(3, below + TILE);
    for (int p = 0; p < keys->count; p++) {
        const uint32_t *values = keys->panels[p].values + column * COLUMN;
        const uint32_t *weights = w->weights + p * 2 * TILE;
        TILE_LOAD(4, weights);
        TILE_LOAD(6, values);
        if (wide) TILE_LOAD(7, values + COLUMN);
        if (tall) TILE_LOAD(5, weights + TILE);
        TILE_DOT(0, 4, 6);
        if (wide) TILE_DOT(1, 4, 7);
        if (tall) TILE_DOT(2, 5, 6);
        if (tall && wide) TILE_DOT(3, 5, 7);
        fetch_some_keys(f);
    }
    TILE_STORE(0, out);
    if (wide) TILE_STORE(1, out + TILE);
    if (tall) TILE_STORE(2, below);
    if (tall && wide) TILE_STORE(3, below + TILE);
}

/// A strip of 16 or 32 rows over a chunk.
VDIT_INLINE void attend_strip(
    const int tall, tile_file *tiles, const work *w, const chunk *keys, int32_t strip, fetching_chunk *f) {
    const uint32_t *q = w->q + strip * 2 * w->depth * TILE;
    float *out = w->out + strip * 2 * w->columns * TILE;
    for (int p = 0; p < keys->count; p++) {
        score(tall, tiles, q, w->depth, keys->panels[p].keys, w->scores[p & 1], f);
        if (p > 0) weigh(w, &keys->panels[p - 1], strip, p - 1);
    }
    weigh(w, &keys->panels[keys->count - 1], strip, keys->count - 1);
    if (w->call->masses)
        for (int32_t row = 0; row < STRIP && strip * STRIP + row < w->rows; row++)
            add_to_mass_sums(w->call, strip * STRIP + row, keys, w->weights + row * GROUP, 2 * TILE);
    int32_t c = 0;
    for (; c + 1 < w->columns; c += 2) value_columns(tall, 1, tiles, w, keys, c, out + c * TILE, f);
    if (c < w->columns) value_columns(tall, 0, tiles, w, keys, c, out + c * TILE, f);
}

static void start(const vdit_attend_call *call, work *w) {
    int32_t tiles = (call->rows + 15) / 16;
    memset(w->q, 0, (size_t)tiles * w->depth * TILE * 4);
    memset(w->out, 0, (size_t)tiles * w->columns * TILE * 4);
    memset(w->total, 0, (size_t)VDIT_ATTEND_ROWS * LANES * 4);
    for (int32_t row = 0; row < VDIT_ATTEND_ROWS; row++) {
        w->reference[row] = MASKED;
        w->factor[row] = w->scale;
    }
    uint32_t line[MAX_HEAD_DIM / ELEMENTS] = {0};
    for (int32_t row = 0; row < call->rows; row++) {
        w->factor[row] = load_query(&call->q, row, call->head_dim, line) * w->scale;
        uint32_t *to = w->q + row / 16 * w->depth * TILE + row % 16 * GROUP;
        for (int32_t d = 0; d < w->depth; d++) memcpy(to + d * TILE, line + d * GROUP, GROUP * 4);
    }
}

static void finish(const vdit_attend_call *call, const work *w) {
    float line[MAX_HEAD_DIM];
    for (int32_t row = 0; row < call->rows; row++) {
        const float *from = w->out + row / 16 * w->columns * TILE + row % 16 * GROUP;
        for (int32_t c = 0; c < w->columns; c++) memcpy(line + c * GROUP, from + c * TILE, GROUP * 4);
        float total = 0;
        for (int32_t i = 0; i < LANES; i++) total += w->total[row * LANES + i];
        write_row(call, row, line, total, w->reference[row]);
    }
}

static void attend(const vdit_attend_call *call) {
    work w = divided(call);
    start(call, &w);
    start_masses(call);
    int32_t strips = (call->rows + STRIP - 1) / STRIP;
    chunk chunks[2] = {0}, *now = &chunks[0], *next = &chunks[1];
    int more = next_chunk(call, now, now);
    tile_file file, *tiles = &file;
    TILES_BEGIN;
    while (more) {
        more = next_chunk(call, now, next);
        fetching_chunk f = begin_fetching(&w, more ? next : NULL, strips);
        for (int32_t strip = 0; strip < strips; strip++)
            if (row_tiles(&w, strip) == 2) attend_strip(1, tiles, &w, now, strip, &f);
            else attend_strip(0, tiles, &w, now, strip, &f);
        chunk *done = now;
        now = next;
        next = done;
    }
    TILES_END;
    finish(call, &w);
}
