// Block-sparse attention by 16 × 16 tiles. Queries, scores, weights and output lie in memory as whole tiles of 1 KiB,
// so that every tile load and store is sixteen consecutive lines.
// Included inside an ISA region after vec_avx512.h, tile_weights.h, pack.h, scores_*.h, chunk.h, the tile instructions
// (tiles_*.h) and score_tiles_*.h; before calls.h.
//
// A strip of 32 rows takes a chunk of keys, a group of panels at a time. A tile product keeps the tile unit busy for 16
// cycles and leaves all else idle: after each, a row of the scores of the group before becomes weights. A strip's
// output follows a strip later, a pair of columns after every group, so that there are about as many products as rows
// to weigh at any time.

enum {
    TILE = 256,  // units, or floats, of a tile
    STRIP = 32,  // rows
    PANEL_SCORES = 4 * TILE,
    PANEL_WEIGHTS = 2 * TILE,
    GROUPS = (CHUNK_PANELS + GROUP_PANELS - 1) / GROUP_PANELS,
};

typedef struct {
    const vdit_attend_call *call;
    int32_t depth, columns;        // of a query row; of an output row; in tiles
    float scale;                   // of scores, times WEIGHT_UNITS log2(e)
    uint32_t *q;                   // [row tile][depth] tiles
    float *out;                    // [row tile][columns] tiles, sums of weight * value
    float *total;                  // [rows][LANES], sums of weights
    float *factor;                 // [rows], of the products of a row
    float *reference, *offset;     // [rows], subtracted from scores, in units of log 2; as is added to them
    float *moved;                  // [rows], what a row's output is yet to be scaled by
    // Shared by all calls.
    float *scores[2];      // [GROUP_PANELS][2 groups of keys][2 row tiles] tiles, of alternate groups
    uint32_t *weights[2];  // [CHUNK_PANELS][2 row tiles] tiles, of alternate strips
} work;

enum { SHARED_FLOATS = 2 * (GROUP_PANELS * PANEL_SCORES + CHUNK_PANELS * PANEL_WEIGHTS) };

VDIT_INLINE int32_t depth_tiles(int32_t head_dim) { return depth_units(head_dim) / GROUP; }
VDIT_INLINE int32_t column_tiles(int32_t head_dim) { return padded_columns(head_dim) / GROUP; }

VDIT_INLINE int64_t floats_of(const vdit_attend_call *call) {
    const int32_t tiles = depth_tiles(call->head_dim) + column_tiles(call->head_dim);
    return rounded_up(call->rows, 16) * (tiles * 16 + LANES + 4);
}

VDIT_INLINE work divided(const vdit_attend_call *call, float *shared, float *own) {
    const int32_t rows = rounded_up(call->rows, 16);
    work w = {
        .call = call, .depth = depth_tiles(call->head_dim), .columns = column_tiles(call->head_dim),
        .scale = call->scale * LOG2_E * WEIGHT_UNITS, .out = own};
    w.q = (uint32_t *)(w.out + rows / 16 * w.columns * TILE);
    w.total = (float *)(w.q + rows / 16 * w.depth * TILE);
    w.factor = w.total + rows * LANES;
    w.reference = w.factor + rows;
    w.offset = w.reference + rows;
    w.moved = w.offset + rows;
    w.scores[0] = shared;
    w.scores[1] = w.scores[0] + GROUP_PANELS * PANEL_SCORES;
    w.weights[0] = (uint32_t *)(w.scores[1] + GROUP_PANELS * PANEL_SCORES);
    w.weights[1] = w.weights[0] + CHUNK_PANELS * PANEL_WEIGHTS;
    return w;
}

/// A strip and a chunk of keys.
typedef struct {
    const work *w;
    const chunk *keys;
    int32_t first, tiles;  // row; row tiles that hold rows: 2, or 1 at the end
    uint32_t *weights;
} task;

/// The scores of a group of panels on their way to weights.
typedef struct {
    task task;
    int panel, end;     // the panel under way, of the chunk; past the group's last
    int32_t row, rows;  // the next of the strip; all of them
    const float *scores;
    const float *late;  // what is added to the scores of a row, NULL for nothing
    float adjustment[PANEL] __attribute__((aligned(64)));
} weighing;

/// Runs on from one call to the next.
typedef struct {
    weighing weighing;
    int rows_a_product;  // to weigh
    fetching_chunk fetching;
    task out;            // whose output is under way
    int32_t column;      // of it, the next
    int side, strip;     // of scores; of weights
} pipeline;

VDIT_INLINE void fetch_some_keys(fetching_chunk *f) {
    if (f->now.line >= f->now.end) fetch_next_part(f);
    fetch_some(&f->now);
}

/// Moves the reference of a row, whose weights of the panels before are made: to its first largest score, then by whole
/// numbers, so that everything made with the old one is scaled without an error. A score that is no number makes the
/// total none.
static __attribute__((noinline)) void move_reference(const weighing *f, int32_t row_of_strip, vec low, vec high) {
    const work *w = f->task.w;
    const int32_t row = f->task.first + row_of_strip;
    const float largest = v_largest(v_max(low, high)) / WEIGHT_UNITS;
    int first = w->reference[row] == MASKED;
    float step = ceilf(largest - w->reference[row]), factor = first ? 0 : exp2f(-step);
    w->reference[row] = first ? largest : w->reference[row] + step;
    w->offset[row] = weight_offset(w->reference[row]);
    w->moved[row] *= factor;
    float *total = w->total + row * LANES;
    v_store(total, v_add(v_mul(v_load(total), v_set(factor)), v_mul(v_add(low, high), v_zero())));
    rescale_mass_sums(w->call, row, factor);
    for (int p = 0; p < f->panel; p++) {
        any_bf16 *weights = (any_bf16 *)(f->task.weights + p * PANEL_WEIGHTS + row_of_strip * GROUP);
        for (int i = 0; i < PANEL; i++) {
            uint32_t bits = (uint32_t)weights[i] << 16;
            float weight;
            memcpy(&weight, &bits, 4);
            weights[i] = rounded_bf16(weight * factor);
        }
    }
}

/// A row's scores of the panel under way, in WEIGHT_UNITS of log 2, and an offset.
VDIT_INLINE void exponents(const weighing *f, int32_t row, float offset, vec *low, vec *high) {
    const int32_t units = f->task.w->depth * GROUP;
    const uint32_t *keys = f->task.keys->panels[f->panel].keys;
    const float *pair = f->scores + row * GROUP;
    const vec factor = v_set(f->task.w->factor[f->task.first + row]), more = v_set(offset);
    *low = s_exponent(pair, factor, more, keys, units, 0);
    *high = s_exponent(pair + 2 * TILE, factor, more, keys, units, GROUP);
    if (f->late) {
        *low = v_add(*low, v_load(f->late));
        *high = v_add(*high, v_load(f->late + GROUP));
    }
}

static void begin_panel(weighing *f) {
    const key_panel *panel = &f->task.keys->panels[f->panel];
    f->row = 0;
    f->late = needs_adjusting(panel) ? f->adjustment : NULL;
    if (f->late) adjustments(panel, LOG2_E * WEIGHT_UNITS, f->adjustment);
}

/// The next panel of the group; 0 at its end.
static __attribute__((noinline)) int next_panel(weighing *f) {
    if (f->panel + 1 >= f->end) return 0;
    f->panel++;
    f->scores += PANEL_SCORES;
    begin_panel(f);
    return 1;
}

/// The weights of a row, 2^(scale * score - reference), as bf16 pairs; adds them to the total. 0 if none is left.
VDIT_INLINE int weigh_row(weighing *f) {
    if (__builtin_expect(f->row == f->rows, 0) && !next_panel(f)) return 0;
    const work *w = f->task.w;
    const int32_t row = f->row++, row_of_block = f->task.first + row;
    vec low, high;
    exponents(f, row, w->offset[row_of_block], &low, &high);
    if (__builtin_expect(v_any_not_within(low, high, v_set(weight_offset(-SLACK))), 0)) {
        exponents(f, row, 0, &low, &high);
        move_reference(f, row, low, high);
        exponents(f, row, w->offset[row_of_block], &low, &high);
    }
    float *total = w->total + row_of_block * LANES;
    vec weights = v_weights(low, high);
    v_store((float *)f->task.weights + f->panel * PANEL_WEIGHTS + row * GROUP, weights);
    v_store(total, v_add_weights(v_load(total), weights));
    return 1;
}

VDIT_INLINE void weigh_some(pipeline *p) {
    for (int i = 0; i < p->rows_a_product; i++) weigh_row(&p->weighing);
}

// Tiles 0 to 3 are sums, 4 and 5 rows of the left operand, 6 and 7 columns of the right.

/// Scores of a strip's rows and a panel's keys.
VDIT_INLINE void score(
    const int tall, const int32_t depth, tile_file *tiles, pipeline *p, const uint32_t *q, const uint32_t *keys,
    float *scores) {
    TILE_ZERO(0);
    TILE_ZERO(1);
    if (tall) TILE_ZERO(2);
    if (tall) TILE_ZERO(3);
    for (int32_t d = 0; d < depth; d++) {
        TILE_LOAD(4, q + d * TILE);
        TILE_LOAD(6, keys + d * TILE);
        SCORE_DOT(0, 4, 6);
        weigh_some(p);
        TILE_LOAD(7, keys + (depth + d) * TILE);
        SCORE_DOT(1, 4, 7);
        weigh_some(p);
        if (tall) {
            TILE_LOAD(5, q + (depth + d) * TILE);
            SCORE_DOT(2, 5, 6);
            weigh_some(p);
            SCORE_DOT(3, 5, 7);
            weigh_some(p);
        }
        fetch_some_keys(&p->fetching);
    }
    TILE_STORE(0, scores);
    TILE_STORE(1, scores + 2 * TILE);
    if (tall) TILE_STORE(2, scores + TILE);
    if (tall) TILE_STORE(3, scores + 3 * TILE);
}

VDIT_INLINE void value_columns(const int tall, const int wide, tile_file *tiles, pipeline *p) {
    enum { COLUMN = PANEL / ELEMENTS * GROUP };
    const task *t = &p->out;
    const work *w = t->w;
    float *out = w->out + (t->first / 16 * w->columns + p->column) * TILE, *below = out + w->columns * TILE;
    TILE_LOAD(0, out);
    if (wide) TILE_LOAD(1, out + TILE);
    if (tall) TILE_LOAD(2, below);
    if (tall && wide) TILE_LOAD(3, below + TILE);
    for (int panel = 0; panel < t->keys->count; panel++) {
        const uint32_t *values = t->keys->panels[panel].values + p->column * COLUMN;
        const uint32_t *weights = t->weights + panel * PANEL_WEIGHTS;
        TILE_LOAD(4, weights);
        TILE_LOAD(6, values);
        TILE_DOT(0, 4, 6);
        weigh_some(p);
        if (wide) {
            TILE_LOAD(7, values + COLUMN);
            TILE_DOT(1, 4, 7);
            weigh_some(p);
        }
        if (tall) {
            TILE_LOAD(5, weights + TILE);
            TILE_DOT(2, 5, 6);
            weigh_some(p);
        }
        if (tall && wide) {
            TILE_DOT(3, 5, 7);
            weigh_some(p);
        }
        fetch_some_keys(&p->fetching);
    }
    TILE_STORE(0, out);
    if (wide) TILE_STORE(1, out + TILE);
    if (tall) TILE_STORE(2, below);
    if (tall && wide) TILE_STORE(3, below + TILE);
}

/// The next `pairs` pairs of columns of the output under way.
static void add_values(tile_file *tiles, pipeline *p, int32_t pairs) {
    const int tall = p->out.tiles == 2;
    for (; pairs > 0 && p->out.keys && p->column < p->out.w->columns; pairs--, p->column += 2) {
        const int wide = p->column + 1 < p->out.w->columns;
        if (tall && wide) value_columns(1, 1, tiles, p);
        else if (tall) value_columns(1, 0, tiles, p);
        else if (wide) value_columns(0, 1, tiles, p);
        else value_columns(0, 0, tiles, p);
    }
}

/// Ends the weighing. If it was the last of a strip and a chunk, their output is next.
static void end_weighing(tile_file *tiles, pipeline *p) {
    const task *t = &p->weighing.task;
    const work *w = t->w;
    while (weigh_row(&p->weighing)) {}
    if (!t->keys || p->weighing.end < t->keys->count) return;
    add_values(tiles, p, w->columns);
    for (int32_t row = t->first; row < t->first + t->tiles * 16; row++) {
        if (w->call->masses && row < w->call->rows)
            add_to_mass_sums(w->call, row, t->keys, t->weights + (row - t->first) * GROUP, PANEL_WEIGHTS);
        if (w->moved[row] == 1) continue;
        float *out = w->out + row / 16 * w->columns * TILE + row % 16 * GROUP;
        for (int32_t c = 0; c < w->columns; c++)
            v_store(out + c * TILE, v_mul(v_load(out + c * TILE), v_set(w->moved[row])));
        w->moved[row] = 1;
    }
    p->out = *t;
    p->column = 0;
}

/// Scores of panels from ..< to of a strip and a chunk; meanwhile weights of the group before and a part of the output
/// of the strip before.
static void attend_group(tile_file *tiles, pipeline *p, const task *t, int from, int to) {
    const work *w = t->w;
    const int32_t pairs = ((w->columns + 1) / 2 + GROUPS - 1) / GROUPS;
    const uint32_t *q = w->q + t->first / 16 * w->depth * TILE;
    float *scores = w->scores[p->side];
    weighing *before = &p->weighing;
    int32_t products = (to - from) * w->depth * 2 * t->tiles;
    if (p->out.keys && p->column < w->columns) products += pairs * p->out.keys->count * 2 * p->out.tiles;
    p->rows_a_product = ((before->end - before->panel) * before->rows + products - 1) / products;
    for (int panel = from; panel < to; panel++, scores += PANEL_SCORES)
        if (t->tiles == 2) score(1, w->depth, tiles, p, q, t->keys->panels[panel].keys, scores);
        else score(0, w->depth, tiles, p, q, t->keys->panels[panel].keys, scores);
    add_values(tiles, p, pairs);
    end_weighing(tiles, p);
    *before = (weighing){
        .task = *t, .panel = from, .end = to, .rows = t->tiles * 16, .scores = w->scores[p->side]};
    begin_panel(before);
    p->side ^= 1;
}

static void start(work *w) {
    const vdit_attend_call *call = w->call;
    const int32_t rows = rounded_up(call->rows, 16);
    memset(w->q, 0, (size_t)rows / 16 * w->depth * TILE * 4);
    memset(w->out, 0, (size_t)rows / 16 * w->columns * TILE * 4);
    memset(w->total, 0, (size_t)rows * LANES * 4);
    for (int32_t row = 0; row < rows; row++) {
        w->reference[row] = MASKED;
        w->offset[row] = weight_offset(MASKED);
        w->factor[row] = w->scale;
        w->moved[row] = 1;
    }
    uint32_t line[MAX_HEAD_DIM / ELEMENTS] = {0};
    for (int32_t row = 0; row < call->rows; row++) {
        w->factor[row] = load_query(&call->q, row, call->head_dim, line) * w->scale;
        uint32_t *to = w->q + row / 16 * w->depth * TILE + row % 16 * GROUP;
        for (int32_t d = 0; d < w->depth; d++) memcpy(to + d * TILE, line + d * GROUP, GROUP * 4);
    }
}

static void finish(const work *w) {
    const vdit_attend_call *call = w->call;
    float line[MAX_HEAD_DIM];
    add_lanes(call, w->total);
    for (int32_t row = 0; row < call->rows; row++) {
        const float *from = w->out + row / 16 * w->columns * TILE + row % 16 * GROUP;
        for (int32_t c = 0; c < w->columns; c++) memcpy(line + c * GROUP, from + c * TILE, GROUP * 4);
        write_row(call, row, line, w->total[row * LANES]);
    }
    write_lse(call, w->total, w->reference);
}

/// All strips of a call and a chunk.
static void attend_chunk(tile_file *tiles, pipeline *p, const work *w, const chunk *keys) {
    const int32_t rows = w->call->rows, strips = (rows + STRIP - 1) / STRIP;
    const int products = strips * (w->depth + (w->columns + 1) / 2);
    p->fetching.now.lines = ((p->fetching.bytes[0] + p->fetching.bytes[1]) / 64 + products - 1) / products;
    for (int32_t first = 0; first < rows; first += STRIP, p->strip ^= 1) {
        const task t = {
            .w = w, .keys = keys, .first = first, .tiles = rows - first > 16 ? 2 : 1, .weights = w->weights[p->strip]};
        for (int from = 0; from < keys->count; from += GROUP_PANELS)
            attend_group(tiles, p, &t, from, from + GROUP_PANELS < keys->count ? from + GROUP_PANELS : keys->count);
    }
}

static void take_turns(key_walk *walks, const work *works, int32_t count) {
    pipeline p = {0};
    tile_file file, *tiles = &file;
    TILES_BEGIN;
    for (key_walk *turn = whose_turn(walks, count); turn;) {
        const work *w = &works[turn - walks];
        const chunk *keys = take_turn(&turn, walks, count, &p.fetching);
        attend_chunk(tiles, &p, w, keys);
    }
    end_weighing(tiles, &p);
    add_values(tiles, &p, works->columns);
    TILES_END;
}
