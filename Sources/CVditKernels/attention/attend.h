// Block-sparse attention of one query block by broadcast multiply-adds on vectors, for any operand type
// and vector width: scores = queries × packed keys and output += weights × packed values are the same
// product, of rows of 32-bit units with streams of 64-byte lines.
// Included inside an ISA region after pack.inc and a vec_*.h; defines `attend` and `scratch_bytes`.
//
// For each chunk of keys and each strip of rows: scores (in units of log 2), weights in place of them,
// output. K and V of a chunk stay in the cache over all strips. A row's reference maximum only moves when a
// score exceeds it by more than SLACK, so that the output is rarely rescaled.

enum {
    CHUNK = 128,  // keys
    CHUNK_PANELS = CHUNK / PANEL,
    STRIP = 6,  // rows: 6 rows × 4 vectors of sums leave room for 4 of keys and a broadcast
    VECTORS = GROUP / LANES,
    WIDE = 4 / VECTORS,  // groups of columns summed at once
};

static const float SLACK = 8, MASKED = -1e30f;
static const float LOG2_E = 1.44269504f, LN_2 = 0.693147181f;

typedef struct {
    const uint32_t *keys, *values;
    const float *bias;
    int32_t count;  // keys in it
} key_panel;

typedef struct {
    int32_t units, columns;  // of a query row; of an output row
    float scale;             // of scores, times log2(e)
    uint32_t *q;             // [VDIT_ATTEND_ROWS][units]
    float *out;              // [VDIT_ATTEND_ROWS][columns], sums of weight * value
    float *scores;           // [STRIP][CHUNK]; then the weights, as units at the start of each row
    float *total;            // [VDIT_ATTEND_ROWS][LANES], sums of weights
    float *reference;        // [VDIT_ATTEND_ROWS], subtracted from scores
} work;

static int64_t scratch_bytes(int32_t head_dim) {
    int64_t per_row = depth_units(head_dim) + padded_columns(head_dim) + LANES + 1;
    return (VDIT_ATTEND_ROWS * per_row + STRIP * CHUNK) * 4;
}

VDIT_INLINE work divided(void *scratch, int32_t head_dim) {
    work w = {.units = depth_units(head_dim), .columns = padded_columns(head_dim)};
    w.out = scratch;
    w.scores = w.out + VDIT_ATTEND_ROWS * w.columns;
    w.total = w.scores + STRIP * CHUNK;
    w.reference = w.total + VDIT_ATTEND_ROWS * LANES;
    w.q = (uint32_t *)(w.reference + VDIT_ATTEND_ROWS);
    return w;
}

/// scores[rows][groups * 16] = scale * q × keys of `groups` panels.
VDIT_INLINE void score_tile(
    const int rows, const int groups, const uint32_t *q, int32_t units, const key_panel *panels, float scale,
    float *scores) {
    vec sum[STRIP][WIDE * VECTORS];
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
        for (int v = 0; v < groups * VECTORS; v++) sum[r][v] = v_zero();
#pragma clang loop unroll_count(2)
    for (int32_t u = 0; u < units; u++) {
        vec line[WIDE * VECTORS];
#pragma clang loop unroll(full)
        for (int v = 0; v < groups * VECTORS; v++)
            line[v] = v_load(panels[v / VECTORS].keys + u * GROUP + v % VECTORS * LANES);
#pragma clang loop unroll(full)
        for (int r = 0; r < rows; r++) {
            vec unit = v_broadcast(q + r * units + u);
#pragma clang loop unroll(full)
            for (int v = 0; v < groups * VECTORS; v++) sum[r][v] = v_dot(sum[r][v], unit, line[v]);
        }
    }
    vec factor = v_set(scale);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
        for (int v = 0; v < groups * VECTORS; v++)
            v_store(scores + r * CHUNK + v * LANES, v_mul(sum[r][v], factor));
}

/// out[rows][groups * 16 columns] += weights × values of all panels of the chunk.
VDIT_INLINE void value_tile(
    const int rows, const int groups, const float *weights, const key_panel *panels, int count,
    int32_t first_group, float *out, int32_t columns) {
    enum { UNITS = PANEL / ELEMENTS };
    vec sum[STRIP][WIDE * VECTORS];
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
        for (int v = 0; v < groups * VECTORS; v++) sum[r][v] = v_load(out + r * columns + v * LANES);
    for (int p = 0; p < count; p++) {
        const uint32_t *values = panels[p].values + first_group * UNITS * GROUP;
        const uint32_t *row = (const uint32_t *)weights + p * UNITS;
#pragma clang loop unroll_count(2)
        for (int32_t u = 0; u < UNITS; u++) {
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
static void adjust(int rows, const key_panel *panels, int count, float *scores) {
    for (int p = 0; p < count; p++)
        for (int r = 0; r < rows; r++) {
            float *row = scores + r * CHUNK + p * PANEL;
            if (panels[p].bias)
                for (int k = 0; k < panels[p].count; k++) row[k] += panels[p].bias[k] * LOG2_E;
            for (int k = panels[p].count; k < PANEL; k++) row[k] = MASKED;
        }
}

static __attribute__((noinline)) void rescale(const work *w, int32_t row, float reference) {
    float factor = exp2f(w->reference[row] - reference);
    w->reference[row] = reference;
    for (int32_t i = 0; i < LANES; i++) w->total[row * LANES + i] *= factor;
    float *out = w->out + (int64_t)row * w->columns;
    for (int32_t c = 0; c < w->columns; c++) out[c] *= factor;
}

/// The scores of one row become weights, 2^(score - reference), as operands.
VDIT_INLINE void weigh(const work *w, int32_t row, int panels, float *scores) {
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

VDIT_INLINE void strip(
    const int rows, const work *w, int32_t row, const key_panel *panels, int count, int adjusted) {
    const uint32_t *q = w->q + (int64_t)row * w->units;
    float *scores = w->scores, *out = w->out + (int64_t)row * w->columns;
    int p = 0;
    for (; p + WIDE <= count; p += WIDE)
        score_tile(rows, WIDE, q, w->units, panels + p, w->scale, scores + p * PANEL);
    for (; p < count; p++) score_tile(rows, 1, q, w->units, panels + p, w->scale, scores + p * PANEL);
    if (adjusted) adjust(rows, panels, count, scores);
    for (int r = 0; r < rows; r++) weigh(w, row + r, count, scores + r * CHUNK);
    int32_t group = 0, groups = w->columns / GROUP;
    for (; group + WIDE <= groups; group += WIDE)
        value_tile(rows, WIDE, scores, panels, count, group, out + group * GROUP, w->columns);
    for (; group < groups; group++)
        value_tile(rows, 1, scores, panels, count, group, out + group * GROUP, w->columns);
}

/// Strips of other heights finish a query block whose rows are not a multiple of STRIP.
static void attend_chunk(const work *w, int32_t rows, const key_panel *panels, int count) {
    int adjusted = 0;
    for (int p = 0; p < count; p++) adjusted |= panels[p].count < PANEL || panels[p].bias;
    int32_t row = 0;
    for (; row + STRIP <= rows; row += STRIP) strip(STRIP, w, row, panels, count, adjusted);
    if (rows - row >= 4) strip(4, w, row, panels, count, adjusted), row += 4;
    if (rows - row >= 2) strip(2, w, row, panels, count, adjusted), row += 2;
    if (rows - row >= 1) strip(1, w, row, panels, count, adjusted);
}

static void write_row(const vdit_attend_call *call, const work *w, int32_t row) {
    const float *sums = w->out + (int64_t)row * w->columns;
    float total = 0;
    for (int32_t i = 0; i < LANES; i++) total += w->total[row * LANES + i];
    float factor = 1 / total;
    int64_t token = row_of(&call->q, row);
    if (call->out_type == VDIT_BF16) {
        uint16_t *to = (uint16_t *)call->out + token * call->out_stride;
        for (int32_t c = 0; c < call->head_dim; c++) to[c] = rounded_bf16(sums[c] * factor);
    } else {
        float *to = (float *)call->out + token * call->out_stride;
        for (int32_t c = 0; c < call->head_dim; c++) to[c] = sums[c] * factor;
    }
    if (call->lse) call->lse[token] = w->reference[row] * LN_2 + logf(total);
}

static void attend(const vdit_attend_call *call) {
    work w = divided(call->scratch, call->head_dim);
    w.scale = call->scale * LOG2_E;
    for (int32_t row = 0; row < call->rows; row++) {
        load_units(&call->q, row, call->head_dim, w.q + (int64_t)row * w.units);
        w.reference[row] = MASKED;
    }
    memset(w.out, 0, (size_t)call->rows * w.columns * 4);
    memset(w.total, 0, (size_t)call->rows * LANES * 4);

    key_panel panels[CHUNK_PANELS];
    int count = 0;
    int64_t bytes = panel_bytes(call->head_dim);
    for (int32_t i = 0; i < call->kept_count; i++) {
        int32_t block = call->kept[i], keys = call->block_keys[block + 1] - call->block_keys[block];
        int64_t panel = call->block_panel[block];
        for (; keys > 0; keys -= PANEL, panel++) {
            panels[count++] = (key_panel){
                (const uint32_t *)((const char *)call->keys + panel * bytes),
                (const uint32_t *)((const char *)call->values + panel * bytes),
                call->key_bias ? call->key_bias + panel * PANEL : NULL, keys < PANEL ? keys : PANEL};
            if (count == CHUNK_PANELS) {
                attend_chunk(&w, call->rows, panels, count);
                count = 0;
            }
        }
    }
    if (count) attend_chunk(&w, call->rows, panels, count);
    for (int32_t row = 0; row < call->rows; row++) write_row(call, &w, row);
}
