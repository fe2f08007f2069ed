#include <math.h>

#include "attention.h"

// The oracle and the fallback: two passes over the keys, sums in double. A panel is one key as floats.

static int64_t panel_bytes(int32_t head_dim) { return (int64_t)head_dim * 4; }

static int64_t scratch_bytes(int32_t head_dim) { return (int64_t)head_dim * (4 + 8); }

static void pack(const vdit_token_rows *rows, int64_t count, int32_t head_dim, void *panels) {
    for (int64_t i = 0; i < count; i++) load_floats(rows, i, head_dim, (float *)panels + i * head_dim);
}

static double score(const vdit_attend_call *call, const float *q, const vdit_key_panels *panels, int64_t panel) {
    const float *key = (const float *)panels->keys + panel * call->head_dim;
    double sum = 0;
    for (int32_t c = 0; c < call->head_dim; c++) sum += (double)q[c] * key[c];
    return sum * call->scale + (panels->bias ? panels->bias[panel] : 0);
}

static void attend_row(const vdit_attend_call *call, int32_t row) {
    double *sum = call->scratch;
    float *q = (float *)(sum + call->head_dim);
    load_floats(&call->q, row, call->head_dim, q);

    double largest = -INFINITY, total = 0;
    for (int32_t i = 0; i < block_count(call); i++) {
        key_block block = block_at(call, i);
        for (int64_t p = block.panel; p < block.panel + block.count; p++)
            largest = fmax(largest, score(call, q, block.panels, p));
    }
    for (int32_t c = 0; c < call->head_dim; c++) sum[c] = 0;
    for (int32_t i = 0; i < block_count(call); i++) {
        key_block block = block_at(call, i);
        double before = total;
        for (int64_t p = block.panel; p < block.panel + block.count; p++) {
            const float *value = (const float *)block.panels->values + p * call->head_dim;
            double weight = exp(score(call, q, block.panels, p) - largest);
            total += weight;
            for (int32_t c = 0; c < call->head_dim; c++) sum[c] += weight * value[c];
        }
        if (call->masses) call->mass_sums[i] = (float)(total - before);
    }

    int64_t token = row_of(&call->q, row);
    for (int32_t c = 0; c < call->head_dim; c++) {
        float value = (float)(sum[c] / total);
        if (call->out_type == VDIT_BF16)
            ((uint16_t *)call->out)[token * call->out_stride + c] = rounded_bf16(value);
        else
            ((float *)call->out)[token * call->out_stride + c] = value;
    }
    if (call->lse) call->lse[token] = (float)(largest + log(total));
    if (!call->masses) return;
    for (int32_t i = 0; i < call->kept_count; i++)
        call->masses[i] = (row > 0 ? call->masses[i] : 0) + (float)(call->mass_sums[i] / total / call->rows);
}

static void attend(const vdit_attend_call *call) {
    for (int32_t row = 0; row < call->rows; row++) attend_row(call, row);
}

const vdit_attention vdit_attention_scalar = {
    "scalar", 1, panel_bytes, scratch_bytes, pack, pack, attend,
};
