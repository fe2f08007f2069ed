// The planning kernels, instantiated once per instruction set: plain loops that the compiler vectorises for
// the target of the region they are included in.

VDIT_INLINE void NAME(add_row)(float *VDIT_RESTRICT sum, const void *x, vdit_float_type type, int64_t at,
                               int64_t columns) {
    if (type == VDIT_BF16) {
        const uint16_t *VDIT_RESTRICT row = (const uint16_t *)x + at * columns;
        for (int64_t i = 0; i < columns; i++) sum[i] += vdit_f32_of_bf16(row[i]);
    } else {
        const float *VDIT_RESTRICT row = (const float *)x + at * columns;
        for (int64_t i = 0; i < columns; i++) sum[i] += row[i];
    }
}

/// Means of the columns from ..< from + count, which is a constant, so that the sums stay in registers.
VDIT_INLINE void NAME(means_of)(const void *x, vdit_float_type type, int64_t columns, const int32_t *order,
                                int64_t first, int64_t last, int64_t from, const int64_t count, float *mean) {
    float sum[WIDE];
    for (int64_t i = 0; i < count; i++) sum[i] = 0;
    for (int64_t at = first; at < last; at++) {
        int64_t row = (order ? order[at] : at) * columns + from;
        if (type == VDIT_BF16)
            for (int64_t i = 0; i < count; i++) sum[i] += vdit_f32_of_bf16(((const uint16_t *)x)[row + i]);
        else
            for (int64_t i = 0; i < count; i++) sum[i] += ((const float *)x)[row + i];
    }
    float inverse = 1.0f / (float)(last - first);
    for (int64_t i = 0; i < count; i++) mean[from + i] = sum[i] * inverse;
}

static void NAME(block_means)(const void *x, vdit_float_type type, int64_t columns, const int32_t *order,
                              const int32_t *offsets, int64_t blocks, float *means) {
    for (int64_t b = 0; b < blocks; b++, means += columns) {
        int64_t from = 0;
        for (; from + WIDE <= columns; from += WIDE)
            NAME(means_of)(x, type, columns, order, offsets[b], offsets[b + 1], from, WIDE, means);
        for (; from + NARROW <= columns; from += NARROW)
            NAME(means_of)(x, type, columns, order, offsets[b], offsets[b + 1], from, NARROW, means);
        for (; from < columns; from++)
            NAME(means_of)(x, type, columns, order, offsets[b], offsets[b + 1], from, 1, means);
    }
}

static void NAME(cluster_sums)(const void *x, vdit_float_type type, int64_t rows, int64_t columns,
                               const int32_t *labels, int64_t clusters, float *sums, int32_t *sizes) {
    for (int64_t i = 0; i < clusters * columns; i++) sums[i] = 0;
    for (int64_t c = 0; c < clusters; c++) sizes[c] = 0;
    for (int64_t r = 0; r < rows; r++) {
        NAME(add_row)(sums + labels[r] * columns, x, type, r, columns);
        sizes[labels[r]]++;
    }
}

static void NAME(row_argmax)(const float *scores, int64_t rows, int64_t columns, int32_t *at) {
    for (int64_t r = 0; r < rows; r++) {
        const float *row = scores + r * columns;
        float best[LANES];
        int32_t place[LANES];
        for (int l = 0; l < LANES; l++) best[l] = -INFINITY, place[l] = 0;
        int64_t whole = columns - columns % LANES;
        for (int64_t j = 0; j < whole; j += LANES)
            for (int l = 0; l < LANES; l++) {
                float value = row[j + l];
                place[l] = value > best[l] ? (int32_t)j + l : place[l];
                best[l] = value > best[l] ? value : best[l];
            }
        float top = -INFINITY;
        int32_t found = 0;
        for (int l = 0; l < LANES; l++)
            if (best[l] > top || (best[l] == top && top > -INFINITY && place[l] < found))
                top = best[l], found = place[l];
        for (int64_t j = whole; j < columns; j++)
            if (row[j] > top) top = row[j], found = (int32_t)j;
        at[r] = found;
    }
}

static void NAME(softmax_rows)(float *scores, int64_t rows, int64_t columns, float scale, const float *weight) {
    for (int64_t r = 0; r < rows; r++) {
        float *row = scores + r * columns;
        float top = -INFINITY;
        for (int64_t j = 0; j < columns; j++) {
            row[j] *= scale;
            top = row[j] > top ? row[j] : top;
        }
        double sum = 0;
        for (int64_t j = 0; j < columns; j++) {
            row[j] = expf(row[j] - top) * (weight ? weight[j] : 1.0f);
            sum += row[j];
        }
        float inverse = (float)(1.0 / (sum > 1e-12 ? sum : 1e-12));
        for (int64_t j = 0; j < columns; j++) row[j] *= inverse;
    }
}

static void NAME(residual)(const float *full, const float *sparse, const float *ratio, int64_t first, int64_t last,
                           int64_t tokens, int64_t heads, int64_t head_dim, void *residual,
                           vdit_float_type type) {
    for (int64_t t = first; t < last; t++)
        for (int64_t h = 0; h < heads; h++) {
            int64_t at = (t * heads + h) * head_dim;
            float share = ratio[h * tokens + t];
            if (type == VDIT_BF16) {
                uint16_t *VDIT_RESTRICT to = (uint16_t *)residual + at;
                for (int64_t i = 0; i < head_dim; i++) to[i] = vdit_bf16_of(full[at + i] - share * sparse[at + i]);
            } else {
                float *VDIT_RESTRICT to = (float *)residual + at;
                for (int64_t i = 0; i < head_dim; i++) to[i] = full[at + i] - share * sparse[at + i];
            }
        }
}

static void NAME(rescale)(float *values, const float *ratio, const void *residual, vdit_float_type type,
                          int64_t first, int64_t last, int64_t tokens, int64_t heads, int64_t head_dim) {
    for (int64_t t = first; t < last; t++)
        for (int64_t h = 0; h < heads; h++) {
            int64_t at = (t * heads + h) * head_dim;
            float share = ratio[h * tokens + t];
            float *VDIT_RESTRICT to = values + at;
            if (type == VDIT_BF16) {
                const uint16_t *VDIT_RESTRICT from = (const uint16_t *)residual + at;
                for (int64_t i = 0; i < head_dim; i++) to[i] = share * to[i] + vdit_f32_of_bf16(from[i]);
            } else {
                const float *VDIT_RESTRICT from = (const float *)residual + at;
                for (int64_t i = 0; i < head_dim; i++) to[i] = share * to[i] + from[i];
            }
        }
}

static void NAME(add_to_rows)(float *values, int64_t columns, const int32_t *order, int64_t first, int64_t last,
                              float part, const void *x, vdit_float_type type) {
#pragma clang fp contract(off)
    for (int64_t at = first; at < last; at++) {
        float *VDIT_RESTRICT to = values + (order ? order[at] : at) * columns;
        if (type == VDIT_BF16) {
            const uint16_t *VDIT_RESTRICT from = (const uint16_t *)x;
            for (int64_t i = 0; i < columns; i++) to[i] += part * vdit_f32_of_bf16(from[i]);
        } else {
            const float *VDIT_RESTRICT from = (const float *)x;
            for (int64_t i = 0; i < columns; i++) to[i] += part * from[i];
        }
    }
}

const vdit_planning_kernels NAME(vdit_planning) = {
    NAME(block_means), NAME(cluster_sums), NAME(row_argmax), NAME(softmax_rows), NAME(residual), NAME(rescale),
    NAME(add_to_rows)};
