#include <math.h>

#include "../int8/quantise.h"
#include "attention.h"

// The oracle and the fallback: two passes over the keys, sums in double. A panel is one key as floats; with int8
// scores, its whole numbers as floats, and their scale in the first of 16 more.

enum { MAX_HEAD_DIM = 256, SCALE = 16 };

static int64_t panel_bytes(int32_t head_dim) { return (int64_t)head_dim * 4; }

static int64_t int8_key_bytes(int32_t head_dim) { return panel_bytes(head_dim) + SCALE * 4; }

static int64_t scratch_bytes(const vdit_attend_call *calls, int32_t count) {
    (void)count;
    return (int64_t)calls->head_dim * (4 + 8);
}

static void pack(const vdit_token_rows *rows, int64_t count, int32_t head_dim, void *panels) {
    for (int64_t i = 0; i < count; i++) load_floats(rows, i, head_dim, (float *)panels + i * head_dim);
}

static void pack_keys(const vdit_token_rows *rows, int64_t count, int32_t head_dim, const float *mean, void *panels) {
    (void)mean;
    pack(rows, count, head_dim, panels);
}

/// A row of floats as whole numbers; returns their scale.
static float round_row(float *row, int32_t head_dim) {
    int8_t values[MAX_HEAD_DIM];
    float scale = quantised(0, row, head_dim, 0, (uint8_t *)values);
    for (int32_t c = 0; c < head_dim; c++) row[c] = values[c];
    return scale;
}

static void pack_int8_keys(
    const vdit_token_rows *rows, int64_t count, int32_t head_dim, const float *mean, void *panels) {
    for (int64_t i = 0; i < count; i++) {
        float *key = (float *)panels + i * (head_dim + SCALE);
        load_floats(rows, i, head_dim, key);
        for (int32_t c = 0; mean && c < head_dim; c++) key[c] -= mean[c];
        key[head_dim] = round_row(key, head_dim);
    }
}

static double score(
    const int is_int8, const vdit_attend_call *call, const float *q, double scale, const vdit_key_panels *panels,
    int64_t panel) {
    const float *key = (const float *)panels->keys + panel * (call->head_dim + (is_int8 ? SCALE : 0));
    double sum = 0;
    for (int32_t c = 0; c < call->head_dim; c++) sum += (double)q[c] * key[c];
    if (is_int8) sum *= key[call->head_dim];
    return sum * scale + (panels->bias ? panels->bias[panel] : 0);
}

static void attend_row(const int is_int8, const vdit_attend_call *call, int32_t row, void *scratch) {
    double *sum = scratch;
    float *q = (float *)(sum + call->head_dim);
    load_floats(&call->q, row, call->head_dim, q);
    double of_mean = 0, scale = call->scale;
    for (int32_t c = 0; call->panels.mean && c < call->head_dim; c++)
        of_mean += (double)q[c] * call->panels.mean[c] * scale;
    if (is_int8) scale *= round_row(q, call->head_dim);

    double largest = -INFINITY, total = 0;
    for (int32_t i = 0; i < block_count(call); i++) {
        key_block block = block_at(call, i);
        for (int64_t p = block.panel; p < block.panel + block.count; p++)
            largest = fmax(largest, score(is_int8, call, q, scale, block.panels, p));
    }
    for (int32_t c = 0; c < call->head_dim; c++) sum[c] = 0;
    for (int32_t i = 0; i < block_count(call); i++) {
        key_block block = block_at(call, i);
        double before = total;
        for (int64_t p = block.panel; p < block.panel + block.count; p++) {
            const float *value = (const float *)block.panels->values + p * call->head_dim;
            double weight = exp(score(is_int8, call, q, scale, block.panels, p) - largest);
            total += weight;
            for (int32_t c = 0; c < call->head_dim; c++) sum[c] += weight * value[c];
        }
        if (call->masses && i < call->kept_count) call->mass_sums[i] = (float)(total - before);
    }

    int64_t token = row_of(&call->q, row);
    for (int32_t c = 0; c < call->head_dim; c++) {
        float value = (float)(sum[c] / total);
        if (call->out_type == VDIT_BF16)
            ((uint16_t *)call->out)[token * call->out_stride + c] = rounded_bf16(value);
        else
            ((float *)call->out)[token * call->out_stride + c] = value;
    }
    if (call->lse) call->lse[token] = (float)(largest + log(total) + of_mean);
    if (!call->masses) return;
    for (int32_t i = 0; i < call->kept_count; i++)
        call->masses[i] = (row > 0 ? call->masses[i] : 0) + (float)(call->mass_sums[i] / total / call->rows);
}

VDIT_INLINE void attend_calls(const int is_int8, const vdit_attend_call *calls, int32_t count, void *scratch) {
    for (const vdit_attend_call *call = calls; call < calls + count; call++)
        for (int32_t row = 0; row < call->rows; row++) attend_row(is_int8, call, row, scratch);
}

static void attend(const vdit_attend_call *calls, int32_t count, void *scratch) {
    attend_calls(0, calls, count, scratch);
}

static void attend_int8(const vdit_attend_call *calls, int32_t count, void *scratch) {
    attend_calls(1, calls, count, scratch);
}

const vdit_attention vdit_attention_scalar = {
    "scalar", 1, 0, VDIT_F32, VDIT_F32,
    panel_bytes, panel_bytes, scratch_bytes, pack_keys, pack, attend,
};

const vdit_attention vdit_attention_int8_scalar = {
    "int8 scalar", 1, 1, VDIT_F32, VDIT_F32,
    int8_key_bytes, panel_bytes, scratch_bytes, pack_int8_keys, pack, attend_int8,
};
