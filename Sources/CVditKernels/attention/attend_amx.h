// Block-sparse attention of one query block by 16 × 16 tiles. Queries, scores, weights and output lie in
// memory as whole tiles of 1 KiB, so that every tile load and store is sixteen consecutive lines.
// Included inside an ISA region after vec_avx512.h, pack.h, chunk.h and the tile instructions:
//
//   tile_file              their state, where they are done in software
//   TILES_BEGIN, TILES_END configure eight tiles of 16 rows × 64 bytes; release them
//   TILE_ZERO(t) TILE_LOAD(t, from) TILE_STORE(t, to)
//   TILE_DOT(sum, a, b)    sum[16][16] += a[16][16 pairs] × b[16 pairs][16]
//
// A step is a strip of 32 rows × a chunk of keys. Three steps are under way at once, each in another phase
// (scores, weights, output), so that no phase reads what has just been stored. Weights are vector work and may
// be done a row at a time between the tile products of the other two, so that both units are busy at once.

enum {
    TILE = 256,  // units, or floats, of a tile
    STRIP = 32,  // rows
    STRIPS = VDIT_ATTEND_ROWS / STRIP,
    CHUNK = CHUNK_PANELS * PANEL,
    UNDER_WAY = 3,
};

typedef struct {
    const vdit_attend_call *call;
    int32_t rows, depth, columns;  // depth of a query row and columns of an output row, in tiles
    float scale;                   // of scores, times log2(e)
    uint32_t *q;                   // [row tile][depth] tiles
    float *out;                    // [row tile][columns] tiles, sums of weight * value
    float *scores[2];              // [CHUNK_PANELS][2 groups of keys][2 row tiles] tiles, of alternate steps
    uint32_t *weights[2];          // [CHUNK_PANELS][2 row tiles] tiles, of alternate steps
    float *total;                  // [VDIT_ATTEND_ROWS][LANES], sums of weights
    float *reference;              // [VDIT_ATTEND_ROWS], subtracted from scores; in units of log 2
    float *limit;                  // [VDIT_ATTEND_ROWS], the unscaled score that calls for another reference
} work;

typedef struct {
    const chunk *keys;  // NULL where there is no step
    int32_t strip;
    int parity;
} step;

VDIT_INLINE int32_t depth_tiles(int32_t head_dim) { return depth_units(head_dim) / GROUP; }
VDIT_INLINE int32_t column_tiles(int32_t head_dim) { return padded_columns(head_dim) / GROUP; }

static int64_t scratch_bytes(int32_t head_dim) {
    int64_t tiles = VDIT_ATTEND_ROWS / 16 * (depth_tiles(head_dim) + column_tiles(head_dim));
    tiles += CHUNK_PANELS * 2 * (4 + 2);
    return (tiles * TILE + VDIT_ATTEND_ROWS * (LANES + 2)) * 4;
}

VDIT_INLINE work divided(const vdit_attend_call *call) {
    work w = {
        .call = call, .rows = call->rows, .depth = depth_tiles(call->head_dim), .columns = column_tiles(call->head_dim),
        .scale = call->scale * LOG2_E};
    w.out = call->scratch;
    w.scores[0] = w.out + VDIT_ATTEND_ROWS / 16 * w.columns * TILE;
    w.scores[1] = w.scores[0] + CHUNK_PANELS * 4 * TILE;
    w.total = w.scores[1] + CHUNK_PANELS * 4 * TILE;
    w.reference = w.total + VDIT_ATTEND_ROWS * LANES;
    w.limit = w.reference + VDIT_ATTEND_ROWS;
    w.weights[0] = (uint32_t *)(w.limit + VDIT_ATTEND_ROWS);
    w.weights[1] = w.weights[0] + CHUNK_PANELS * 2 * TILE;
    w.q = w.weights[1] + CHUNK_PANELS * 2 * TILE;
    return w;
}

/// Row tiles of a strip that hold rows: 2, or 1 at the end.
VDIT_INLINE int row_tiles(const work *w, int32_t strip) { return w->rows - strip * STRIP > 16 ? 2 : 1; }

/// Scores of a step on their way to weights, 2^(scale * score - reference), as bf16 pairs, a row of a panel at a
/// time. Reads nothing that the products of other steps write, and the reverse.
typedef struct {
    const float *scores;
    uint32_t *weights;
    float *total;
    const float *reference;
    float scale;
    int next, count;        // rows of panels, panel after panel
    int rows_of_panel;      // log2: of 16 or 32
    int between_products;   // rows done after each tile product
} weighing;

VDIT_INLINE void weigh_row(weighing *z) {
    int panel = z->next >> z->rows_of_panel, row = z->next & ((1 << z->rows_of_panel) - 1);
    const float *pair = z->scores + panel * 4 * TILE + row * GROUP;
    vec scale = v_set(z->scale), reference = v_set(z->reference[row]);
    vec low = v_exp2(v_multiply_sub(v_load(pair), scale, reference));
    vec high = v_exp2(v_multiply_sub(v_load(pair + 2 * TILE), scale, reference));
    float *total = z->total + row * LANES;
    uint32_t *to = z->weights + panel * 2 * TILE + row * GROUP;
    v_store(total, v_store_weight_pair(to, low, high, v_load(total)));
    z->next++;
}

VDIT_INLINE void weigh_some(weighing *z) {
    for (int i = 0; i < z->between_products && z->next < z->count; i++) weigh_row(z);
}

// Tiles 0 to 3 are sums, 4 and 5 rows of the left operand, 6 and 7 columns of the right.

VDIT_INLINE void score_panel(
    const int tall, tile_file *tiles, const uint32_t *q, int32_t depth, const uint32_t *keys, float *scores,
    weighing *z) {
    TILE_ZERO(0);
    TILE_ZERO(1);
    if (tall) TILE_ZERO(2);
    if (tall) TILE_ZERO(3);
    for (int32_t d = 0; d < depth; d++) {
        TILE_LOAD(4, q + d * TILE);
        TILE_LOAD(6, keys + d * TILE);
        TILE_LOAD(7, keys + (depth + d) * TILE);
        if (tall) TILE_LOAD(5, q + (depth + d) * TILE);
        TILE_DOT(0, 4, 6);
        weigh_some(z);
        TILE_DOT(1, 4, 7);
        weigh_some(z);
        if (tall) TILE_DOT(2, 5, 6);
        if (tall) weigh_some(z);
        if (tall) TILE_DOT(3, 5, 7);
        if (tall) weigh_some(z);
    }
    TILE_STORE(0, scores);
    TILE_STORE(1, scores + 2 * TILE);
    if (tall) TILE_STORE(2, scores + TILE);
    if (tall) TILE_STORE(3, scores + 3 * TILE);
}

/// First phase: scores of the step's rows and keys.
static weighing score(const work *w, tile_file *tiles, step s, weighing z) {
    const uint32_t *q = w->q + s.strip * 2 * w->depth * TILE;
    for (int p = 0; p < s.keys->count; p++) {
        float *scores = w->scores[s.parity] + p * 4 * TILE;
        if (row_tiles(w, s.strip) == 2)
            score_panel(1, tiles, q, w->depth, s.keys->panels[p].keys, scores, &z);
        else
            score_panel(0, tiles, q, w->depth, s.keys->panels[p].keys, scores, &z);
    }
    return z;
}

/// Adds the biases and hides what a panel holds beyond its keys.
static void adjust(const work *w, step s) {
    int32_t rows = row_tiles(w, s.strip) * GROUP;
    for (int p = 0; p < s.keys->count; p++) {
        if (!needs_adjusting(&s.keys->panels[p])) continue;
        float adjustment[PANEL] __attribute__((aligned(64)));
        adjustments(&s.keys->panels[p], LOG2_E / w->scale, adjustment);
        for (int group = 0; group < PANEL / GROUP; group++) {
            float *scores = w->scores[s.parity] + (p * 4 + group * 2) * TILE;
            vec line = v_load(adjustment + group * GROUP);
            for (int32_t row = 0; row < rows; row++, scores += GROUP) v_store(scores, v_add(v_load(scores), line));
        }
    }
}

static __attribute__((noinline)) void rescale(const work *w, int32_t row, float largest) {
    float reference = largest * w->scale, factor = exp2f(w->reference[row] - reference);
    w->reference[row] = reference;
    w->limit[row] = (reference + SLACK) / w->scale;
    for (int32_t i = 0; i < LANES; i++) w->total[row * LANES + i] *= factor;
    rescale_mass_sums(w->call, row, factor);
    float *out = w->out + row / 16 * w->columns * TILE + row % 16 * GROUP;
    for (int32_t c = 0; c < w->columns; c++)
        for (int32_t i = 0; i < GROUP; i++) out[c * TILE + i] *= factor;
}

/// Moves the references of sixteen rows where scores exceed them by too much.
static void rescale_tile(const work *w, const float *scores, int panels, int32_t row) {
    vec largest[16];
#pragma clang loop unroll(full)
    for (int r = 0; r < 16; r++) largest[r] = v_set(MASKED);
    for (int p = 0; p < panels; p++)
#pragma clang loop unroll(full)
        for (int r = 0; r < 16; r++) {
            const float *pair = scores + p * 4 * TILE + r * GROUP;
            largest[r] = v_max(largest[r], v_max(v_load(pair), v_load(pair + 2 * TILE)));
        }
#pragma clang loop unroll(full)
    for (int r = 0; r < 16; r++)
        if (v_any_above(largest[r], v_set(w->limit[row + r]))) rescale(w, row + r, v_largest(largest[r]));
}

/// Second phase: what has to be known of all the step's scores before any of them becomes a weight. The step's
/// rows must have all of their output so far.
static weighing begin_weighing(const work *w, step s, int between_products) {
    adjust(w, s);
    int tiles = row_tiles(w, s.strip);
    int32_t row = s.strip * STRIP;
    for (int tile = 0; tile < tiles; tile++)
        rescale_tile(w, w->scores[s.parity] + tile * TILE, s.keys->count, row + tile * 16);
    return (weighing){
        .scores = w->scores[s.parity], .weights = w->weights[s.parity], .total = w->total + row * LANES,
        .reference = w->reference + row, .scale = w->scale, .count = s.keys->count * tiles * 16,
        .rows_of_panel = tiles == 2 ? 5 : 4, .between_products = between_products};
}

/// Between the second phase and the third, where masses are wanted.
static void add_masses(const work *w, step s) {
    int32_t first = s.strip * STRIP, last = first + STRIP < w->rows ? first + STRIP : w->rows;
    for (int32_t row = first; row < last; row++)
        add_to_mass_sums(
            w->call, row, s.keys, w->weights[s.parity] + (row - first) * GROUP, 2 * TILE);
}

VDIT_INLINE void value_columns(
    const int tall, const int wide, tile_file *tiles, const work *w, step s, int32_t column, float *out,
    weighing *z) {
    enum { COLUMN = PANEL / ELEMENTS * GROUP };
    float *below = out + w->columns * TILE;
    TILE_LOAD(0, out);
    if (wide) TILE_LOAD(1, out + TILE);
    if (tall) TILE_LOAD(2, below);
    if (tall && wide) TILE_LOAD(3, below + TILE);
    for (int p = 0; p < s.keys->count; p++) {
        const uint32_t *values = s.keys->panels[p].values + column * COLUMN;
        const uint32_t *weights = w->weights[s.parity] + p * 2 * TILE;
        TILE_LOAD(4, weights);
        TILE_LOAD(6, values);
        if (wide) TILE_LOAD(7, values + COLUMN);
        if (tall) TILE_LOAD(5, weights + TILE);
        TILE_DOT(0, 4, 6);
        weigh_some(z);
        if (wide) TILE_DOT(1, 4, 7);
        if (wide) weigh_some(z);
        if (tall) TILE_DOT(2, 5, 6);
        if (tall) weigh_some(z);
        if (tall && wide) TILE_DOT(3, 5, 7);
        if (tall && wide) weigh_some(z);
    }
    TILE_STORE(0, out);
    if (wide) TILE_STORE(1, out + TILE);
    if (tall) TILE_STORE(2, below);
    if (tall && wide) TILE_STORE(3, below + TILE);
}

/// Third phase: the step's part of the output.
static weighing accumulate(const work *w, tile_file *tiles, step s, weighing z) {
    float *out = w->out + s.strip * 2 * w->columns * TILE;
    int tall = row_tiles(w, s.strip) == 2;
    for (int32_t c = 0; c < w->columns; c += 2) {
        float *to = out + c * TILE;
        if (c + 1 < w->columns)
            if (tall) value_columns(1, 1, tiles, w, s, c, to, &z);
            else value_columns(0, 1, tiles, w, s, c, to, &z);
        else if (tall) value_columns(1, 0, tiles, w, s, c, to, &z);
        else value_columns(0, 0, tiles, w, s, c, to, &z);
    }
    return z;
}

static void start(const vdit_attend_call *call, work *w) {
    int32_t tiles = (call->rows + 15) / 16;
    memset(w->q, 0, (size_t)tiles * w->depth * TILE * 4);
    memset(w->out, 0, (size_t)tiles * w->columns * TILE * 4);
    memset(w->total, 0, (size_t)VDIT_ATTEND_ROWS * LANES * 4);
    for (int32_t row = 0; row < VDIT_ATTEND_ROWS; row++) w->reference[row] = w->limit[row] = MASKED;
    uint32_t line[MAX_HEAD_DIM / ELEMENTS] = {0};
    for (int32_t row = 0; row < call->rows; row++) {
        load_units(&call->q, row, call->head_dim, line);
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

/// - Parameter interleaved: weights between the tile products, or after them. The bits are the same.
VDIT_INLINE void attend_in_steps(const vdit_attend_call *call, const int interleaved) {
    work w = divided(call);
    start(call, &w);
    start_masses(call);
    chunk chunks[UNDER_WAY] = {0};
    int last = 0, strips = (call->rows + STRIP - 1) / STRIP;
    // With a single strip the rows being weighed are those whose output the step before is still adding.
    int apart = strips > 1, between = 0;
    if (interleaved && apart) between = 1 + (STRIP - 1) / (4 * w.depth + 2 * w.columns);
    tile_file file, *tiles = &file;
    TILES_BEGIN;
    step next = {NULL, strips - 1, 0}, current = {NULL, 0, 0}, previous = current;
    int more = 1;
    do {
        if (more) {
            next.parity ^= 1;
            if (++next.strip == strips) {
                int after = (last + 1) % UNDER_WAY;
                more = next_chunk(call, &chunks[last], &chunks[after]) > 0;
                next = (step){more ? &chunks[after] : NULL, 0, next.parity};
                last = after;
            }
        }
        weighing z = {0};
        if (current.keys && apart) z = begin_weighing(&w, current, between);
        if (next.keys) z = score(&w, tiles, next, z);
        if (previous.keys) z = accumulate(&w, tiles, previous, z);
        if (current.keys && !apart) z = begin_weighing(&w, current, between);
        while (z.next < z.count) weigh_row(&z);
        if (current.keys && call->masses) add_masses(&w, current);
        previous = current;
        current = next;
    } while (current.keys || previous.keys);
    TILES_END;
    finish(call, &w);
}

static void attend_phased(const vdit_attend_call *call) { attend_in_steps(call, 0); }

static void attend_interleaved(const vdit_attend_call *call) { attend_in_steps(call, 1); }
