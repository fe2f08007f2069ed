// Included once per instruction set. NAME(x) names the copy.

// Four rows of two vectors, so that eight sums run at once and a value of `down` serves four rows.
VDIT_INLINE void NAME(tile)(float *w, const float *up, const float *down, int64_t rows, int64_t columns,
                            int64_t rank, float factor, int64_t w_stride) {
#pragma clang fp contract(off)
    v16 sum[4][2] = {0};
    for (int64_t r = 0; r < rank; r++) {
        v16 first = {0}, second = {0};
        memcpy(&first, down + r * w_stride, (size_t)(columns < 16 ? columns : 16) * 4);
        if (columns > 16) memcpy(&second, down + r * w_stride + 16, (size_t)(columns - 16) * 4);
        for (int64_t i = 0; i < rows; i++) {
            v16 value = up[i * rank + r] - (v16){0};
            sum[i][0] = __builtin_elementwise_fma(value, first, sum[i][0]);
            sum[i][1] = __builtin_elementwise_fma(value, second, sum[i][1]);
        }
    }
    for (int64_t i = 0; i < rows; i++) {
        float lanes[32];
        memcpy(lanes, sum[i], sizeof lanes);
        for (int64_t c = 0; c < columns; c++) {
            float change = factor * lanes[c];
            w[i * w_stride + c] = w[i * w_stride + c] + change;
        }
    }
}

void NAME(vdit_add_low_rank)(float *w, const float *up, const float *down, int64_t rows, int64_t columns,
                             int64_t rank, float factor) {
    for (int64_t i = 0; i < rows; i += 4) {
        const int64_t height = rows - i < 4 ? rows - i : 4;
        for (int64_t c = 0; c < columns; c += 32) {
            float *corner = w + i * columns + c;
            // Constant sizes in the common case, so that the compiler keeps the sums in registers.
            if (height == 4 && columns - c >= 32) {
                NAME(tile)(corner, up + i * rank, down + c, 4, 32, rank, factor, columns);
            } else {
                const int64_t width = columns - c < 32 ? columns - c : 32;
                NAME(tile)(corner, up + i * rank, down + c, height, width, rank, factor, columns);
            }
        }
    }
}
