// Block-sparse attention by broadcast multiply-adds on vectors, for any operand type and vector width: scores = queries
// × packed keys and output += weights × packed values are the same product, of rows of 32-bit units with streams of
// 64-byte lines.
// Included inside an ISA region after vec_*.h, pack.h, scores_*.h and chunk.h; before calls.h.
//
// For each chunk of keys: the scores of all rows (in units of log 2), weights in place of them, output. A
// row's reference maximum only moves when a score exceeds it by more than SLACK, so that the output is rarely
// rescaled.
//
// While a chunk is multiplied the next in turn is fetched: a short query block is done with its keys before they would
// have come by themselves.

enum {
    CHUNK = CHUNK_PANELS * PANEL,  // keys whose scores are held at once
    TALL = 6,  // rows summed at once
    SHORT = 4,
    VECTORS = GROUP / LANES,
    WIDE = TILE_VECTORS / VECTORS,  // groups of columns summed at once
    UNITS = PANEL / ELEMENTS,       // of a column of values
};

typedef struct {
    const vdit_attend_call *call;
    int32_t units, columns;  // of a query row; of an output row
    int32_t tall;            // rows in tiles of TALL
    uint32_t *q;             // [tiles][units][TALL rows]: one pointer serves all rows of a tile, or of parts of one
    float *out;              // [rows][columns], sums of weight * value
    float *scores;           // [rows][CHUNK], shared; then the weights, as units at the start of each row
    float *total;            // [rows][LANES], sums of weights
    float *reference;        // [rows], subtracted from scores
    float *factor;           // [rows], of the products of a row
    fetching_chunk *ahead;   // the next chunk
} work;

enum { SHARED_FLOATS = VDIT_ATTEND_ROWS * CHUNK };

VDIT_INLINE int64_t floats_of(const vdit_attend_call *call) {
    const int32_t rows = rounded_up(call->rows, GROUP);
    return rows * (padded_columns(call->head_dim) + LANES + 2)
        + rounded_up((rows + 2 * TALL) * depth_units(call->head_dim), GROUP);
}

/// Rows in tiles of TALL. Two tiles of SHORT are worth more than one of TALL and one of two rows, whose products would
/// wait for each other.
VDIT_INLINE int32_t rows_in_tall(int32_t rows) {
    const int32_t left = rows % TALL;
    return rows - (left == 2 && rows >= 2 * SHORT ? 2 * SHORT : left);
}

VDIT_INLINE work divided(const vdit_attend_call *call, float *shared, float *own) {
    const int32_t rows = rounded_up(call->rows, GROUP);
    work w = {
        .call = call, .units = depth_units(call->head_dim), .columns = padded_columns(call->head_dim),
        .tall = rows_in_tall(call->rows), .scores = shared, .out = own};
    w.total = w.out + rows * w.columns;
    w.reference = w.total + rows * LANES;
    w.factor = w.reference + rows;
    w.q = (uint32_t *)(w.factor + rows);
    return w;
}

/// The first unit of a row; the next ones follow at a distance of TALL.
VDIT_INLINE uint32_t *units_of_row(const work *w, int32_t row) {
    const int32_t tall = w->tall, left = row - tall;
    const int32_t tile = left < 0 ? row / TALL : tall / TALL + left / SHORT;
    return w->q + (int64_t)tile * TALL * w->units + (left < 0 ? row % TALL : left % SHORT);
}

/// So many lines of the next chunk to fetch; the given ones, which are there, once all of it is on its way.
VDIT_INLINE const char *lines_ahead(const work *w, int32_t count, const void *given) {
    fetching_chunk *f = w->ahead;
    if (f->now.line >= f->now.end) fetch_next_part(f);
    if (f->now.line >= f->now.end) return given;
    const char *lines = f->now.line;
    f->now.line += count * 64;
    return lines;
}

/// scores[rows][groups * 16] = factor * q × keys of `groups` panels; fetches a line with each step.
VDIT_INLINE void score_tile(
    const int rows, const int groups, const uint32_t *q, int32_t units, const key_panel *panels, const float *factors,
    float *scores, const char *ahead) {
    score_sum sum[TALL][WIDE * VECTORS];
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
        for (int v = 0; v < groups * VECTORS; v++)
            sum[r][v] = s_start(panels[v / VECTORS].keys, units, v % VECTORS * LANES);
#pragma clang loop unroll_count(2)
    for (int32_t u = 0; u < units; u++) {
        _mm_prefetch(ahead + u * 64, _MM_HINT_T1);
        score_unit line[WIDE * VECTORS];
#pragma clang loop unroll(full)
        for (int v = 0; v < groups * VECTORS; v++)
            line[v] = s_load(panels[v / VECTORS].keys + u * GROUP + v % VECTORS * LANES);
#pragma clang loop unroll(full)
        for (int r = 0; r < rows; r++) {
            score_unit unit = s_broadcast(q + u * TALL + r);
#pragma clang loop unroll(full)
            for (int v = 0; v < groups * VECTORS; v++) sum[r][v] = s_dot(sum[r][v], unit, line[v]);
        }
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
        vec factor = v_set(factors[r]);
#pragma clang loop unroll(full)
        for (int v = 0; v < groups * VECTORS; v++)
            v_store(
                scores + r * CHUNK + v * LANES,
                s_score(sum[r][v], factor, panels[v / VECTORS].keys, units, v % VECTORS * LANES));
    }
}

/// out[rows][groups * 16 columns] += weights × values of all panels of the chunk; fetches a line with each step.
VDIT_INLINE void value_tile(
    const int rows, const int groups, const float *weights, const key_panel *panels, int count,
    int32_t first_group, float *out, int32_t columns, const char *ahead) {
    vec sum[TALL][WIDE * VECTORS];
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
        for (int v = 0; v < groups * VECTORS; v++) sum[r][v] = v_load(out + r * columns + v * LANES);
    for (int p = 0; p < count; p++) {
        const uint32_t *values = panels[p].values + first_group * UNITS * GROUP;
        const uint32_t *row = (const uint32_t *)weights + p * UNITS;
        // Weights beyond the last key are zero.
        int32_t units = (panels[p].count + ELEMENTS - 1) / ELEMENTS;
#pragma clang loop unroll_count(2)
        for (int32_t u = 0; u < units; u++) {
            _mm_prefetch(ahead + (p * UNITS + u) * 64, _MM_HINT_T1);
            vec line[WIDE * VECTORS];
#pragma clang loop unroll(full)
            for (int v = 0; v < groups * VECTORS; v++)
                line[v] = v_load(values + (v / VECTORS * UNITS + u) * GROUP + v % VECTORS * LANES);
#pragma clang loop unroll(full)
            for (int r = 0; r < rows; r++) {
                vec unit = v_broadcast(row + r * CHUNK + u);
#pragma clang loop unroll(full)
                for (int v = 0; v < groups * VECTORS; v++) sum[r][v] = v_dot(sum[r][v], unit, line[v]);
            }
        }
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
        for (int v = 0; v < groups * VECTORS; v++) v_store(out + r * columns + v * LANES, sum[r][v]);
}

/// Adds the biases and hides what a panel holds beyond its keys.
static void adjust(int32_t rows, const key_panel *panels, int count, float *scores) {
    for (int p = 0; p < count; p++) {
        if (!needs_adjusting(&panels[p])) continue;
        float adjustment[PANEL] __attribute__((aligned(64)));
        adjustments(&panels[p], LOG2_E, adjustment);
        for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
            for (int i = 0; i < PANEL; i += LANES) {
                float *at = scores + r * CHUNK + p * PANEL + i;
                v_store(at, v_add(v_load(at), v_load(adjustment + i)));
            }
    }
}

static __attribute__((noinline)) void rescale(const work *w, int32_t row, float reference) {
    const float last = w->reference[row];
    w->reference[row] = reference;
    if (last == MASKED) return;  // nothing is summed yet
    const float factor = exp2f(last - reference);
    for (int32_t i = 0; i < LANES; i++) w->total[row * LANES + i] *= factor;
    rescale_mass_sums(w->call, row, factor);
    float *out = w->out + (int64_t)row * w->columns;
    for (int32_t c = 0; c < w->columns; c++) out[c] *= factor;
}

/// The scores of one row become weights, 2^(score - reference), as operands.
VDIT_INLINE void weigh(const work *w, int32_t row, int panels) {
    float *scores = w->scores + row * CHUNK;
    int count = panels * PANEL;
    vec largest = v_load(scores);
    for (int i = LANES; i < count; i += LANES) largest = v_max(largest, v_load(scores + i));
    if (v_any_above(largest, v_set(w->reference[row] + SLACK))) rescale(w, row, v_largest(largest));
    vec reference = v_set(w->reference[row]), total = v_load(w->total + row * LANES);
    uint32_t *weights = (uint32_t *)scores;
    for (int i = 0; i < count; i += LANES)
        total = v_store_weights(weights + i / ELEMENTS, v_exp2(v_sub(v_load(scores + i), reference)), total);
    v_store(w->total + row * LANES, total);
}

// Tiles of TALL rows, then smaller ones for what is left.
#define FOR_TILES(rows, TILE)                          \
    int r = 0;                                         \
    for (; r < w->tall; r += TALL) TILE(TALL);         \
    for (; rows - r >= SHORT; r += SHORT) TILE(SHORT); \
    if (rows - r >= 2) TILE(2), r += 2;                \
    if (rows - r >= 1) TILE(1)

VDIT_INLINE void score_rows(
    const int groups, const work *w, int rows, const key_panel *panels, float *scores) {
#define TILE(height) \
    score_tile(height, groups, units_of_row(w, r), w->units, panels, w->factor + r, scores + r * CHUNK, \
        lines_ahead(w, w->units, panels->keys))
    FOR_TILES(rows, TILE);
#undef TILE
}

VDIT_INLINE void value_rows(
    const int groups, const work *w, int rows, const key_panel *panels, int count, int32_t group) {
    float *out = w->out + group * GROUP;
#define TILE(height) \
    value_tile(height, groups, w->scores + r * CHUNK, panels, count, group, out + r * w->columns, w->columns, \
        lines_ahead(w, count * UNITS, panels->values))
    FOR_TILES(rows, TILE);
#undef TILE
}

static void attend_chunk(const work *w, int32_t rows, const chunk *keys) {
    const key_panel *panels = keys->panels;
    int p = 0, count = keys->count;
    for (; p + WIDE <= count; p += WIDE) score_rows(WIDE, w, rows, panels + p, w->scores + p * PANEL);
    // Of one panel alone there are too few sums at once to keep a core busy.
    for (; WIDE > 2 && p + 2 <= count; p += 2) score_rows(2, w, rows, panels + p, w->scores + p * PANEL);
    for (; p < count; p++) score_rows(1, w, rows, panels + p, w->scores + p * PANEL);
    adjust(rows, panels, count, w->scores);
    for (int32_t row = 0; row < rows; row++) weigh(w, row, count);
    if (w->call->masses)
        for (int32_t row = 0; row < rows; row++)
            add_to_mass_sums(w->call, row, keys, (const uint32_t *)(w->scores + row * CHUNK), PANEL / ELEMENTS);
    int32_t group = 0, groups = w->columns / GROUP;
    for (; group + WIDE <= groups; group += WIDE) value_rows(WIDE, w, rows, panels, count, group);
    for (; group < groups; group++) value_rows(1, w, rows, panels, count, group);
}

static void start(work *w) {
    const vdit_attend_call *call = w->call;
    const int32_t units = w->units;
    uint32_t line[MAX_HEAD_DIM] = {0};
    for (int32_t row = 0; row < call->rows; row++) {
        w->factor[row] = load_query(&call->q, row, call->head_dim, line) * (call->scale * LOG2_E);
        uint32_t *to = units_of_row(w, row);
#pragma clang loop unroll_count(8)
        for (int32_t u = 0; u < units; u++) to[u * TALL] = line[u];
        w->reference[row] = MASKED;
    }
    memset(w->out, 0, (size_t)call->rows * w->columns * 4);
    memset(w->total, 0, (size_t)call->rows * LANES * 4);
}

static void finish(const work *w) {
    add_lanes(w->call, w->total);
    for (int32_t row = 0; row < w->call->rows; row++)
        write_row(w->call, row, w->out + (int64_t)row * w->columns, w->total[row * LANES]);
    write_lse(w->call, w->total, w->reference);
}

static void take_turns(key_walk *walks, work *works, int32_t count) {
    for (key_walk *turn = whose_turn(walks, count); turn;) {
        work *w = &works[turn - walks];
        fetching_chunk ahead;
        const chunk *keys = take_turn(&turn, walks, count, &ahead);
        w->ahead = &ahead;
        attend_chunk(w, w->call->rows, keys);
    }
}
