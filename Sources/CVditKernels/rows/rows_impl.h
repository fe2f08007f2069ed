// The row kernels, instantiated once per instruction set: plain loops that the compiler vectorises for the
// target of the region they are included in. Sums may be reassociated within a row, which keeps them a
// function of the row and the instruction set alone.

VDIT_INLINE void NAME(store_row)(const float *VDIT_RESTRICT row, int64_t count, void *VDIT_RESTRICT out,
                                 vdit_float_type type) {
    if (type == VDIT_BF16) {
        uint16_t *VDIT_RESTRICT to = out;
        for (int64_t i = 0; i < count; i++) to[i] = vdit_bf16_of(row[i]);
    } else {
        float *VDIT_RESTRICT to = out;
        for (int64_t i = 0; i < count; i++) to[i] = row[i];
    }
}

VDIT_INLINE char *NAME(place)(void *out, vdit_float_type type, int64_t index) {
    return (char *)out + index * (type == VDIT_BF16 ? 2 : 4);
}

VDIT_INLINE void NAME(norm)(const float *x, int64_t rows, int64_t columns, float eps, const float *scale,
                            const float *shift, int is_centred, void *out, vdit_float_type out_type) {
#pragma clang fp reassociate(on) contract(fast)
    for (int64_t r = 0; r < rows; r++) {
        const float *VDIT_RESTRICT row = x + r * columns;
        float sum = 0, squares = 0;
        if (is_centred)
            for (int64_t i = 0; i < columns; i++) sum += row[i];
        float mean = sum / (float)columns;
        for (int64_t i = 0; i < columns; i++) {
            float centred = row[i] - mean;
            squares += centred * centred;
        }
        float inverse = 1.0f / sqrtf(squares / (float)columns + eps);
        for (int64_t from = 0; from < columns; from += BLOCK) {
            float block[BLOCK];
            int64_t count = columns - from < BLOCK ? columns - from : BLOCK;
            for (int64_t i = 0; i < count; i++) block[i] = (row[from + i] - mean) * inverse;
            if (scale)
                for (int64_t i = 0; i < count; i++) block[i] *= scale[from + i];
            if (shift)
                for (int64_t i = 0; i < count; i++) block[i] += shift[from + i];
            NAME(store_row)(block, count, NAME(place)(out, out_type, r * columns + from), out_type);
        }
    }
}

static void NAME(layer_norm)(const float *x, int64_t rows, int64_t columns, float eps, const float *scale,
                             const float *shift, void *out, vdit_float_type out_type) {
    NAME(norm)(x, rows, columns, eps, scale, shift, 1, out, out_type);
}

static void NAME(rms_norm)(const float *x, int64_t rows, int64_t columns, float eps, const float *scale,
                           const float *shift, void *out, vdit_float_type out_type) {
    NAME(norm)(x, rows, columns, eps, scale, shift, 0, out, out_type);
}

static void NAME(gated_add)(float *x, const float *y, const float *gate, int64_t rows, int64_t columns) {
    for (int64_t r = 0; r < rows; r++) {
        float *VDIT_RESTRICT to = x + r * columns;
        const float *VDIT_RESTRICT from = y + r * columns;
        if (gate)
            for (int64_t i = 0; i < columns; i++) to[i] += gate[i] * from[i];
        else
            for (int64_t i = 0; i < columns; i++) to[i] += from[i];
    }
}

VDIT_INLINE float NAME(inverse_rms)(const float *x, int64_t count, float eps) {
#pragma clang fp reassociate(on) contract(fast)
    float squares = 0;
    for (int64_t i = 0; i < count; i++) squares += x[i] * x[i];
    return 1.0f / sqrtf(squares / (float)count + eps);
}

static void NAME(split_heads)(const float *x, int64_t x_stride, int64_t rows, int64_t heads, int64_t head_dim,
                              const float *weight, int64_t norm_columns, float eps, const float *cosine,
                              const float *sine, int64_t rotary_pairs, void *out, vdit_float_type out_type,
                              int64_t row_stride, int64_t head_stride) {
    float head_row[BLOCK];
    for (int64_t r = 0; r < rows; r++) {
        const float *row = x + r * x_stride;
        float inverse = 1.0f;
        for (int64_t h = 0; h < heads; h++) {
            const float *VDIT_RESTRICT from = row + h * head_dim;
            if (weight && (h * head_dim) % norm_columns == 0) inverse = NAME(inverse_rms)(from, norm_columns, eps);
            if (weight) {
                const float *VDIT_RESTRICT w = weight + (h * head_dim) % norm_columns;
                for (int64_t i = 0; i < head_dim; i++) head_row[i] = from[i] * inverse * w[i];
            } else {
                for (int64_t i = 0; i < head_dim; i++) head_row[i] = from[i];
            }
            if (cosine) {
                const int64_t first = r * rotary_pairs + (h * head_dim / 2) % rotary_pairs;
                const float *VDIT_RESTRICT c = cosine + first;
                const float *VDIT_RESTRICT s = sine + first;
                for (int64_t i = 0; i < head_dim / 2; i++) {
                    float even = head_row[2 * i], odd = head_row[2 * i + 1];
                    head_row[2 * i] = even * c[i] - odd * s[i];
                    head_row[2 * i + 1] = even * s[i] + odd * c[i];
                }
            }
            NAME(store_row)(head_row, head_dim, NAME(place)(out, out_type, r * row_stride + h * head_stride), out_type);
        }
    }
}

const vdit_row_kernels NAME(vdit_rows) = {NAME(layer_norm), NAME(rms_norm), NAME(gated_add), NAME(split_heads)};
