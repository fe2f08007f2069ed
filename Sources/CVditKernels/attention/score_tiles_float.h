// The scores of scores_float.h by tiles.

#define SCORE_DOT TILE_DOT

/// A line of sums as scores, times a factor, and an offset.
VDIT_INLINE vec s_exponent(
    const float *sums, vec factor, vec offset, const uint32_t *keys, int32_t units, int key) {
    (void)keys, (void)units, (void)key;
    return v_multiply_add(v_load(sums), factor, offset);
}
