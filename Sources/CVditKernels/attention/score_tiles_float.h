// The scores of scores_float.h by tiles.

#define SCORE_DOT TILE_DOT
enum { SCORES_ARE_FLOATS = 1 };

/// A line of sums as scores, times a factor, less a reference.
VDIT_INLINE vec s_exponent(
    const float *sums, vec factor, vec reference, const uint32_t *keys, int32_t units, int key) {
    (void)keys, (void)units, (void)key;
    return v_multiply_sub(v_load(sums), factor, reference);
}
