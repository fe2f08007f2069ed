// The scores of scores_int8.h by tiles.

#define SCORE_DOT TILE_DOT_INT8

/// A line of sums as scores of the panel's keys from `key` on, times a factor, and an offset.
VDIT_INLINE vec s_exponent(
    const float *sums, vec factor, vec offset, const uint32_t *keys, int32_t units, int key) {
    vec scores = v_mul(i_floats(i_load(sums)), v_load(scales_of_keys(keys, units) + key));
    return v_multiply_add(scores, factor, offset);
}
