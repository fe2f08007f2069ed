// Queries and keys as the operands that weights and values are, and their scores. Included inside an ISA region after
// vec_*.h and pack.h; scores_int8.h may take its place.

/// Units of a query or key row.
VDIT_INLINE int32_t depth_units(int32_t head_dim) { return rounded_up(head_dim, DEPTH) / ELEMENTS; }

static int64_t key_bytes(int32_t head_dim) { return (int64_t)PANEL * depth_units(head_dim) * 4; }

static void pack_keys(const vdit_token_rows *rows, int64_t count, int32_t head_dim, const float *mean, void *panels) {
    uint32_t staged[GROUP][MAX_HEAD_DIM];
    const uint32_t *lines[GROUP];
    int32_t units = depth_units(head_dim);
    (void)mean;
    if (units * ELEMENTS > head_dim) memset(staged, 0, sizeof staged);
    char *panel = panels;
    for (int64_t first = 0; first < count; first += PANEL, panel += key_bytes(head_dim)) {
        uint32_t *to = (uint32_t *)panel;
        for (int32_t group = 0; group < PANEL; group += GROUP, to += GROUP * units) {
            for (int32_t k = 0; k < GROUP; k++)
                lines[k] = units_of(rows, first + KEY_AT(group + k), count, head_dim, staged[k]);
            transpose_lines(lines, units, to);
        }
    }
}

/// A query as units; returns what its scores are a multiple of.
VDIT_INLINE float load_query(const vdit_token_rows *rows, int64_t i, int32_t head_dim, uint32_t *to) {
    load_units(rows, i, head_dim, to);
    return 1;
}

// Sums of products, and what is multiplied.
typedef vec score_sum, score_unit;

VDIT_INLINE score_unit s_load(const uint32_t *line) { return v_load(line); }
VDIT_INLINE score_unit s_broadcast(const uint32_t *unit) { return v_broadcast(unit); }
VDIT_INLINE score_sum s_dot(score_sum sum, score_unit a, score_unit b) { return v_dot(sum, a, b); }

/// What sums of a panel's keys from `key` on start with.
VDIT_INLINE score_sum s_start(const uint32_t *keys, int32_t units, int key) {
    (void)keys, (void)units, (void)key;
    return v_zero();
}

/// The scores of those keys.
VDIT_INLINE vec s_score(score_sum sum, vec factor, const uint32_t *keys, int32_t units, int key) {
    (void)keys, (void)units, (void)key;
    return v_mul(sum, factor);
}
