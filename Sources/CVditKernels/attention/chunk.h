// What attend has in common whatever multiplies: the walks of its calls over the keys they keep, a chunk of panels at a
// time, and the end of a row, masses included. Included inside an ISA region after vec_*.h, pack.h, ../fetch.h and the
// definition of CHUNK_PANELS.

// In units of log 2: how far a score may exceed its row's reference before the row is rescaled; the score of
// what is no key.
static const float SLACK = 8, MASKED = VDIT_HIDDEN;
static const float LOG2_E = 1.44269504f, LN_2 = 0.693147181f;

typedef struct {
    const uint32_t *keys, *values;
    const float *bias;
    int32_t count;  // keys in it
    int32_t block;  // the place of its block among those kept; their number for the rest
} key_panel;

typedef struct {
    key_panel panels[CHUNK_PANELS];
    int count;
    int64_t place;  // of the first panel among the head's; the rest is behind them all
    // Where the next chunk starts: the panel of the block at `kept`.
    int32_t kept, panel;
} chunk;

/// The chunk after `last` (all zeros before the first), 0 panels at the end. May overwrite `last`.
static int next_chunk(const vdit_attend_call *call, const chunk *last, chunk *next) {
    int64_t of_keys = key_bytes(call->head_dim), of_values = value_bytes(call->head_dim);
    int count = 0;
    int32_t kept = last->kept, within = last->panel;
    while (count < CHUNK_PANELS && kept < block_count(call)) {
        key_block block = block_at(call, kept);
        int32_t left = block.count - within * PANEL;
        int64_t panel = block.panel + within;
        const vdit_key_panels *from = block.panels;
        if (count == 0) next->place = kept < call->kept_count ? panel : INT64_MAX;
        next->panels[count++] = (key_panel){
            (const uint32_t *)((const char *)from->keys + panel * of_keys),
            (const uint32_t *)((const char *)from->values + panel * of_values),
            from->bias ? from->bias + panel * PANEL : NULL, left < PANEL ? left : PANEL,
            kept < call->kept_count ? kept : call->kept_count};
        within++;
        if (left <= PANEL) {
            within = 0;
            kept++;
        }
    }
    next->count = count;
    next->kept = kept;
    next->panel = within;
    return count;
}

/// The next chunk on its way into the second-level cache.
typedef struct {
    const chunk *keys;  // NULL: nothing
    fetching now;       // the part under way
    int part;           // the next: keys and values of each panel
    int bytes[2];       // of a part: of keys, of values
} fetching_chunk;

VDIT_INLINE fetching_chunk begin_fetching(const chunk *keys, int32_t head_dim) {
    return (fetching_chunk){.keys = keys, .bytes = {(int)key_bytes(head_dim), (int)value_bytes(head_dim)}};
}

static __attribute__((noinline)) void fetch_next_part(fetching_chunk *f) {
    if (!f->keys || f->part >= 2 * f->keys->count) return;
    const key_panel *panel = &f->keys->panels[f->part / 2];
    f->now.line = (const char *)(f->part % 2 ? panel->values : panel->keys);
    f->now.end = f->now.line + f->bytes[f->part % 2];
    f->part++;
}

/// Rows on their way into the caches: they lie apart, and one at a time each would be waited for.
static void fetch_rows(const vdit_attend_call *call, const void *data, vdit_float_type type, int64_t stride) {
    const int64_t size = type == VDIT_BF16 ? 2 : 4;
    for (int32_t row = 0; row < call->rows; row++) {
        const char *line = (const char *)data + row_of(&call->q, row) * stride * size;
        for (const char *end = line + call->head_dim * size; line < end; line += 64) _mm_prefetch(line, _MM_HINT_T1);
    }
}

VDIT_INLINE void fetch_queries(const vdit_attend_call *call) {
    fetch_rows(call, call->q.data, call->q.type, call->q.stride);
}

VDIT_INLINE void fetch_output(const vdit_attend_call *call) {
    fetch_rows(call, call->out, call->out_type, call->out_stride);
}

/// A call on its way through its keys.
typedef struct {
    const vdit_attend_call *call;
    // The next one, which may be being fetched, down to the one whose output is under way.
    chunk chunks[4];
    uint32_t next;
} key_walk;

VDIT_INLINE chunk *next_of(key_walk *walk) { return &walk->chunks[walk->next % 4]; }

static void begin_walks(const vdit_attend_call *calls, int32_t count, key_walk *walks) {
    for (int32_t i = 0; i < count; i++) {
        walks[i] = (key_walk){.call = &calls[i]};
        next_chunk(&calls[i], next_of(&walks[i]), next_of(&walks[i]));
    }
}

/// The first of those whose next chunk begins at the least panel: what several calls keep is in the second-level cache
/// from one to the next. NULL at the end of all.
static key_walk *whose_turn(key_walk *walks, int32_t count) {
    key_walk *first = NULL;
    for (key_walk *walk = walks; walk < walks + count; walk++)
        if (next_of(walk)->count > 0 && (!first || next_of(walk)->place < next_of(first)->place)) first = walk;
    return first;
}

/// The next chunk of the walk in turn, which becomes that of the turn after, whose chunk is to be fetched meanwhile.
static const chunk *take_turn(key_walk **turn, key_walk *walks, int32_t count, fetching_chunk *ahead) {
    key_walk *walk = *turn;
    const chunk *keys = next_of(walk);
    walk->next++;
    if (!next_chunk(walk->call, keys, next_of(walk))) fetch_output(walk->call);
    *turn = whose_turn(walks, count);
    *ahead = begin_fetching(*turn ? next_of(*turn) : NULL, walk->call->head_dim);
    return keys;
}

/// Whether a panel's scores need biases added or what is no key masked.
VDIT_INLINE int needs_adjusting(const key_panel *panel) { return panel->count < PANEL || panel->bias; }

/// What is added to the scores of a panel's keys: the biases times `scale`; MASKED where there is no key, which
/// leaves nothing of the zero that is the score there.
VDIT_INLINE void adjustments(const key_panel *panel, float scale, float to[PANEL]) {
    for (int place = 0; place < PANEL; place++) {
        const int key = KEY_AT(place);
        to[place] = key >= panel->count ? MASKED : panel->bias ? panel->bias[key] * scale : 0;
    }
}

/// A row's sums of weights by block, where masses are wanted.
VDIT_INLINE float *mass_sums_of(const vdit_attend_call *call, int32_t row) {
    return call->mass_sums + (int64_t)row * (call->kept_count + 1);
}

static void start_masses(const vdit_attend_call *call) {
    if (!call->masses) return;
    memset(call->mass_sums, 0, (size_t)call->rows * (call->kept_count + 1) * 4);
    memset(call->masses, 0, (size_t)call->kept_count * 4);
}

/// The sums of a row are in units of its reference, which has moved.
VDIT_INLINE void rescale_mass_sums(const vdit_attend_call *call, int32_t row, float factor) {
    if (!call->masses || row >= call->rows) return;
    float *sums = mass_sums_of(call, row);
    for (int32_t i = 0; i <= call->kept_count; i++) sums[i] *= factor;
}

/// Adds a row's weights of a chunk to the sums of their blocks; those of panel p lie at weights + p * stride.
VDIT_INLINE void add_to_mass_sums(
    const vdit_attend_call *call, int32_t row, const chunk *keys, const uint32_t *weights, int64_t stride) {
    float *sums = mass_sums_of(call, row);
    vec sum = v_zero();
    for (int p = 0; p < keys->count; p++) {
        for (int i = 0; i < PANEL; i += LANES)
            sum = v_add(sum, v_load_weights(weights + p * stride + i / ELEMENTS));
        int32_t block = keys->panels[p].block;
        if (p + 1 < keys->count && keys->panels[p + 1].block == block) continue;
        sums[block] += v_sum(sum);
        sum = v_zero();
    }
}

/// The score of a row with what was subtracted from all keys.
static float score_of_mean(const vdit_attend_call *call, int32_t row) {
    float q[MAX_HEAD_DIM], sum = 0;
    load_floats(&call->q, row, call->head_dim, q);
    for (int32_t c = 0; c < call->head_dim; c++) sum += q[c] * call->panels.mean[c];
    return sum * call->scale;
}

/// Sums of weights, [rows][LANES], added up in the first lane.
static void add_lanes(const vdit_attend_call *call, float *totals) {
    for (float *total = totals; total < totals + call->rows * LANES; total += LANES)
        for (int32_t i = 1; i < LANES; i++) total[0] += total[i];
}

/// sums / total to the row's place.
static void write_row(const vdit_attend_call *call, int32_t row, const float *sums, float total) {
    float factor = 1 / total;
    int64_t token = row_of(&call->q, row);
    if (call->out_type == VDIT_BF16) {
        uint16_t *to = (uint16_t *)call->out + token * call->out_stride;
        for (int32_t c = 0; c < call->head_dim; c++) to[c] = rounded_bf16(sums[c] * factor);
    } else {
        float *to = (float *)call->out + token * call->out_stride;
        for (int32_t c = 0; c < call->head_dim; c++) to[c] = sums[c] * factor;
    }
    if (!call->masses) return;
    const float *of_blocks = mass_sums_of(call, row);
    factor /= call->rows;
    for (int32_t i = 0; i < call->kept_count; i++) call->masses[i] += of_blocks[i] * factor;
}

/// The rows' log-sum-exp, of what `add_lanes` left and the references.
static void write_lse(const vdit_attend_call *call, const float *totals, const float *references) {
    if (!call->lse) return;
    for (int32_t row = 0; row < call->rows; row++) {
        float *lse = &call->lse[row_of(&call->q, row)];
        *lse = references[row] * LN_2 + logf(totals[row * LANES]);
        if (call->panels.mean) *lse += score_of_mean(call, row);
    }
}
