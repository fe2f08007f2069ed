// A linear layer whose rows are quantised as they come: plain loops that the compiler vectorises for the target of the
// region they are included in, around products in whole numbers. Included inside an ISA region after
//
//   OFFSET          what is added to a row's values: 128 where the instruction takes them unsigned, else 0
//   GROUP_PAIRS     pairs of column tiles whose sums are under way at once
//   multiply_group  the products of all rows with a group of columns
//
// The sums are exact, and what follows is rounded operation by operation: every instruction set gives the same bits.

enum {
    ROW_TILE = 16,  // rows and sums have room for whole tiles
    SUM_ROW = GROUP_PAIRS * PAIR + 16,
};

static int64_t scratch_bytes(int64_t rows, int64_t inputs) {
    return parts_of(rows, ROW_TILE) * ROW_TILE * (bytes_of_row(inputs) + SUM_ROW * 4 + 4);
}

static void quantise(const float *x, int64_t rows, int64_t columns, int8_t *values, float *scales) {
    for (int64_t r = 0; r < rows; r++)
        scales[r] = quantised(0, x + r * columns, columns, 0, (uint8_t *)values + r * columns);
}

/// x / (1 + 2^(-sharpness)) for sharpness in units of log 2.
VDIT_INLINE float gated(float x, float sharpness) {
#pragma clang fp contract(off)
    float power = -sharpness;
    power = power > -126.0f ? power : -126.0f;
    power = power < 126.0f ? power : 126.0f;
    const float shifted = power + 0x1.8p23f, part = power - (shifted - 0x1.8p23f);
#define CONSTANT(value) value
#define STEP(sum, coefficient) ((sum) * part + coefficient)
    const uint32_t bits = vdit_bits_of_f32(EXP2_FLOAT(CONSTANT, STEP));
#undef STEP
#undef CONSTANT
    return x / (1.0f + vdit_f32_of_bits(bits + (vdit_bits_of_f32(shifted) << 23)));
}

VDIT_INLINE void activate(float *line, int64_t count, vdit_activation activation) {
#pragma clang fp contract(off)
    const float log2_e = 1.44269504f;
    if (activation == VDIT_SILU)
        for (int64_t c = 0; c < count; c++) line[c] = gated(line[c], line[c] * log2_e);
    if (activation == VDIT_GELU_TANH)  // x / (1 + exp(-2 √(2/π) (x + 0.044715 x³)))
        for (int64_t c = 0; c < count; c++) {
            const float x = line[c], cubic = x * x * 0.044715f;
            line[c] = gated(x, (cubic * x + x) * (1.59576912f * log2_e));
        }
}

/// The outputs of columns first ..< first + count, from their sums.
static void write_outputs(
    const vdit_linear_call *call, const float *row_scales, const int32_t *sums, int64_t first, int64_t count) {
#pragma clang fp contract(off)
    const float *scales = (const float *)((const char *)call->matrix + tile_bytes(call->outputs, call->inputs));
    const int32_t *VDIT_RESTRICT offsets = (const int32_t *)(scales + parts_of(call->outputs, PAIR) * PAIR) + first;
    const float *VDIT_RESTRICT column_scales = scales + first;
    const float *VDIT_RESTRICT bias = call->bias ? call->bias + first : NULL;
    for (int64_t row = 0; row < call->rows; row++) {
        const int32_t *VDIT_RESTRICT from = sums + row * SUM_ROW;
        const float scale = row_scales[row];
        float line[GROUP_PAIRS * PAIR];
        for (int64_t c = 0; c < count; c++)
            line[c] = (float)(OFFSET ? from[c] - offsets[c] : from[c]) * (scale * column_scales[c]);
        if (bias)
            for (int64_t c = 0; c < count; c++) line[c] += bias[c];
        activate(line, count, call->activation);
        const int64_t at = row * call->outputs + first;
        if (call->y_type == VDIT_F32) {
            memcpy((float *)call->y + at, line, (size_t)count * 4);
        } else {
            uint16_t *VDIT_RESTRICT to = (uint16_t *)call->y + at;
            for (int64_t c = 0; c < count; c++) to[c] = vdit_bf16_of(line[c]);
        }
    }
}

static void linear(const vdit_linear_call *call) {
    const int64_t rows = parts_of(call->rows, ROW_TILE) * ROW_TILE, bytes = bytes_of_row(call->inputs);
    const int64_t steps = parts_of(call->inputs, DEPTH), pairs = parts_of(call->outputs, PAIR);
    uint8_t *values = call->scratch;
    int32_t *sums = (int32_t *)(values + rows * bytes);
    float *scales = (float *)(sums + rows * SUM_ROW);
    for (int64_t r = 0; r < call->rows; r++) {
        uint8_t *to = values + r * bytes;
        scales[r] = call->x_type == VDIT_BF16
            ? quantised(1, (const uint16_t *)call->x + r * call->inputs, call->inputs, OFFSET, to)
            : quantised(0, (const float *)call->x + r * call->inputs, call->inputs, OFFSET, to);
        memset(to + call->inputs, 0, (size_t)(steps * DEPTH - call->inputs));
    }
    for (int64_t pair = 0; pair < pairs; pair += GROUP_PAIRS) {
        const group_product group = {
            .rows = values, .row_bytes = bytes, .row_count = call->rows, .steps = steps,
            .matrix = (const char *)call->matrix + pair * steps * STEP_BYTES,
            .pairs = pairs - pair < GROUP_PAIRS ? pairs - pair : GROUP_PAIRS, .pairs_left = pairs - pair, .sums = sums,
            .sum_row = SUM_ROW};
        multiply_group(&group);
        const int64_t first = pair * PAIR, left = call->outputs - first;
        write_outputs(call, scales, sums, first, left < GROUP_PAIRS * PAIR ? left : GROUP_PAIRS * PAIR);
    }
}
