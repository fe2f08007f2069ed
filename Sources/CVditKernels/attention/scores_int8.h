// Queries and keys as 8-bit whole numbers with a scale for each token, and their scores: sums are exact. Takes the
// place of scores_float.h, after ../int8/quantise.h and ../int8/dot_*.h; the includer defines SCORE_DEPTH, what rows
// are filled up to, and QUERY_OFFSET, which is added to what a query holds.
//
//   keys    [PANEL / 16 groups of keys][head_dim rounded up to SCORE_DEPTH, in fours][16 keys], then [PANEL] scales,
//           f32, and [PANEL] sums of a key's numbers times -QUERY_OFFSET, i32
//
// Source: Zhang et al., SageAttention, arXiv 2410.02367: keys less their mean over all tokens, which moves the scores
// of a query by the same and so changes no weight. Differs: every query and key has a scale of its own, which costs a
// CPU nothing; values and weights stay what they are.

/// Fours of a query or key row.
VDIT_INLINE int32_t depth_units(int32_t head_dim) { return rounded_up(head_dim, SCORE_DEPTH) / 4; }

static int64_t key_bytes(int32_t head_dim) { return (int64_t)PANEL * (depth_units(head_dim) * 4 + 8); }

VDIT_INLINE const float *scales_of_keys(const uint32_t *keys, int32_t units) {
    return (const float *)keys + (int64_t)PANEL * units;
}

static void pack_keys(const vdit_token_rows *rows, int64_t count, int32_t head_dim, const float *mean, void *panels) {
    uint32_t staged[GROUP][MAX_HEAD_DIM];
    const uint32_t *lines[GROUP];
    const int32_t units = depth_units(head_dim);
    for (int32_t k = 0; k < GROUP; k++) lines[k] = staged[k];
    char *panel = panels;
    for (int64_t first = 0; first < count; first += PANEL, panel += key_bytes(head_dim)) {
        uint32_t *to = (uint32_t *)panel;
        float *scales = (float *)to + (int64_t)PANEL * units;
        int32_t *sums = (int32_t *)scales + PANEL;
        for (int32_t group = 0; group < PANEL; group += GROUP, to += GROUP * units) {
            memset(staged, 0, sizeof staged);
            for (int32_t k = 0; k < GROUP; k++) {
                float row[MAX_HEAD_DIM], scale = 0;
                int32_t sum = 0;
                const int64_t key = first + KEY_AT(group + k);
                if (key < count) {
                    load_floats(rows, key, head_dim, row);
                    if (mean)
                        for (int32_t c = 0; c < head_dim; c++) row[c] -= mean[c];
                    scale = quantised(0, row, head_dim, 0, (uint8_t *)staged[k]);
                    for (int32_t c = 0; c < head_dim; c++) sum += ((const int8_t *)staged[k])[c];
                }
                scales[group + k] = scale;
                sums[group + k] = sum * -QUERY_OFFSET;
            }
            transpose_lines(lines, units, to);
        }
    }
}

/// A query in fours; returns what its scores are a multiple of.
VDIT_INLINE float load_query(const vdit_token_rows *rows, int64_t i, int32_t head_dim, uint32_t *to) {
    float row[MAX_HEAD_DIM];
    load_floats(rows, i, head_dim, row);
    return quantised(0, row, head_dim, QUERY_OFFSET, (uint8_t *)to);
}

// Sums of products, and what is multiplied.
typedef ints score_sum, score_unit;

VDIT_INLINE score_unit s_load(const uint32_t *line) { return i_load(line); }
VDIT_INLINE score_unit s_broadcast(const uint32_t *unit) { return i_broadcast(unit); }
VDIT_INLINE score_sum s_dot(score_sum sum, score_unit a, score_unit b) { return i_dot(sum, a, b); }

/// What sums of a panel's keys from `key` on start with.
VDIT_INLINE score_sum s_start(const uint32_t *keys, int32_t units, int key) {
    return i_load(scales_of_keys(keys, units) + PANEL + key);
}

/// The scores of those keys.
VDIT_INLINE vec s_score(score_sum sum, vec factor, const uint32_t *keys, int32_t units, int key) {
    return v_mul(v_mul(i_floats(sum), v_load(scales_of_keys(keys, units) + key)), factor);
}
