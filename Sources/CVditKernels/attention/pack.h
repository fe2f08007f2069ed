// Packing for kernels whose multiply-add consumes 32-bit units of ELEMENTS operands (one float, two bf16).
// Included inside an ISA region after vec_*.h and the definitions of ELEMENTS, PANEL and DEPTH.
//
//   keys    [PANEL / 16 groups of keys][head_dim rounded up to DEPTH, in units][16 keys], or as scores_int8.h says
//   values  [head_dim / 16 groups of columns, rounded up][PANEL keys, in units][16 columns]
//
// Both are streams of 64-byte lines, each multiplied by one broadcast unit of a row of queries or weights.

// The key of a panel at a place among its scores and in `keys`; values have their own order.
#ifndef KEY_AT
#define KEY_AT(place) (place)
#endif

enum { MAX_HEAD_DIM = 256, GROUP = 16 };
#define VALUE_TYPE (ELEMENTS == 1 ? VDIT_F32 : VDIT_BF16)

VDIT_INLINE int32_t rounded_up(int32_t value, int32_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

/// Floats of an output row.
VDIT_INLINE int32_t padded_columns(int32_t head_dim) { return rounded_up(head_dim, GROUP); }

static int64_t value_bytes(int32_t head_dim) { return (int64_t)PANEL * padded_columns(head_dim) * 4 / ELEMENTS; }

/// Row i as units.
VDIT_INLINE void load_units(const vdit_token_rows *rows, int64_t i, int32_t count, uint32_t *to) {
    if (ELEMENTS == 1)
        load_floats(rows, i, count, to);
    else
        load_bf16(rows, i, count, to);
}

/// Units of row i: in place where they are what the kernel multiplies and fill whole lines, else in `line`,
/// whose units beyond the row stay as they are. Zeros for i >= count.
VDIT_INLINE const uint32_t *units_of(
    const vdit_token_rows *rows, int64_t i, int64_t count, int32_t head_dim, uint32_t line[MAX_HEAD_DIM]) {
    static const uint32_t zeros[MAX_HEAD_DIM] = {0};
    if (i >= count) return zeros;
    int64_t start = row_of(rows, i) * rows->stride;
    if (head_dim % (GROUP * 2) == 0 && rows->type == VALUE_TYPE)
        return (const uint32_t *)((const char *)rows->data + start * 4 / ELEMENTS);
    load_units(rows, i, head_dim, line);
    return line;
}

/// Sixteen pairs.
VDIT_INLINE void pair_up(
    const any_bf16 *VDIT_RESTRICT low, const any_bf16 *VDIT_RESTRICT high, uint32_t *VDIT_RESTRICT to) {
    for (int32_t i = 0; i < GROUP; i++) to[i] = low[i] | (uint32_t)high[i] << 16;
}

static void pack_values(const vdit_token_rows *rows, int64_t count, int32_t head_dim, void *panels) {
    uint32_t staged[ELEMENTS][MAX_HEAD_DIM];
    const uint32_t *lines[ELEMENTS];  // one per operand of a unit
    int32_t columns = padded_columns(head_dim);
    if (columns > head_dim) memset(staged, 0, sizeof staged);
    char *panel = panels;
    for (int64_t first = 0; first < count; first += PANEL, panel += value_bytes(head_dim)) {
        for (int32_t unit = 0; unit < PANEL / ELEMENTS; unit++) {
            for (int32_t e = 0; e < ELEMENTS; e++)
                lines[e] = units_of(rows, first + unit * ELEMENTS + e, count, head_dim, staged[e]);
            uint32_t *to = (uint32_t *)panel + unit * GROUP;
            for (int32_t c = 0; c < columns; c += GROUP, to += PANEL / ELEMENTS * GROUP) {
                if (ELEMENTS == 1) {
                    memcpy(to, lines[0] + c, GROUP * 4);
                } else {
                    const any_bf16 *low = (const any_bf16 *)lines[0] + c;
                    const any_bf16 *high = (const any_bf16 *)lines[ELEMENTS - 1] + c;
                    pair_up(low, high, to);
                }
            }
        }
    }
}
