// Packing for kernels whose multiply-add consumes 32-bit units of ELEMENTS operands (one float, two bf16).
// Included inside an ISA region after vec_*.h and the definitions of ELEMENTS, PANEL and DEPTH.
//
//   keys    [PANEL / 16 groups of keys][head_dim rounded up to DEPTH, in units][16 keys]
//   values  [head_dim / 16 groups of columns, rounded up][PANEL keys, in units][16 columns]
//
// Both are streams of 64-byte lines, each multiplied by one broadcast unit of a row of queries or weights.

enum { MAX_HEAD_DIM = 256, GROUP = 16 };

VDIT_INLINE int32_t rounded_up(int32_t value, int32_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

/// Units of a query or key row.
VDIT_INLINE int32_t depth_units(int32_t head_dim) { return rounded_up(head_dim, DEPTH) / ELEMENTS; }

/// Floats of an output row.
VDIT_INLINE int32_t padded_columns(int32_t head_dim) { return rounded_up(head_dim, GROUP); }

static int64_t panel_bytes(int32_t head_dim) {
    int32_t widest = rounded_up(head_dim, DEPTH > GROUP ? DEPTH : GROUP);
    return (int64_t)PANEL * widest * 4 / ELEMENTS;
}

/// Row i as units.
VDIT_INLINE void load_units(const vdit_token_rows *rows, int64_t i, int32_t count, uint32_t *to) {
    if (ELEMENTS == 1)
        load_floats(rows, i, count, to);
    else
        load_bf16(rows, i, count, to);
}

static void pack_keys(const vdit_token_rows *rows, int64_t count, int32_t head_dim, void *panels) {
    uint32_t lines[GROUP][MAX_HEAD_DIM] = {0};
    int32_t units = depth_units(head_dim);
    char *panel = panels;
    for (int64_t first = 0; first < count; first += PANEL, panel += panel_bytes(head_dim)) {
        uint32_t *to = (uint32_t *)panel;
        for (int64_t group = first; group < first + PANEL; group += GROUP, to += GROUP * units) {
            for (int32_t k = 0; k < GROUP; k++) {
                if (group + k < count)
                    load_units(rows, group + k, head_dim, lines[k]);
                else
                    memset(lines[k], 0, sizeof lines[k]);
            }
            transpose_lines(lines[0], MAX_HEAD_DIM, units, to);
        }
    }
}

static void pack_values(const vdit_token_rows *rows, int64_t count, int32_t head_dim, void *panels) {
    // One line of columns per operand of a unit; beyond head_dim they stay zero.
    uint32_t line[ELEMENTS][MAX_HEAD_DIM] = {0};
    int32_t columns = padded_columns(head_dim);
    char *panel = panels;
    for (int64_t first = 0; first < count; first += PANEL, panel += panel_bytes(head_dim)) {
        for (int32_t unit = 0; unit < PANEL / ELEMENTS; unit++) {
            for (int32_t e = 0; e < ELEMENTS; e++) {
                int64_t key = first + unit * ELEMENTS + e;
                if (key < count)
                    load_units(rows, key, head_dim, line[e]);
                else
                    memset(line[e], 0, sizeof line[e]);
            }
            uint32_t *to = (uint32_t *)panel + unit * GROUP;
            for (int32_t c = 0; c < columns; c += GROUP, to += PANEL / ELEMENTS * GROUP) {
                if (ELEMENTS == 1) {
                    memcpy(to, line[0] + c, GROUP * 4);
                } else {
                    const any_bf16 *low = (const any_bf16 *)line[0] + c;
                    const any_bf16 *high = (const any_bf16 *)line[ELEMENTS - 1] + c;
                    for (int32_t i = 0; i < GROUP; i++) to[i] = low[i] | (uint32_t)high[i] << 16;
                }
            }
        }
    }
}
