#include "int8.h"

int64_t vdit_int8_packed_bytes(int64_t outputs, int64_t inputs) {
    return tile_bytes(outputs, inputs) + parts_of(outputs, PAIR) * PAIR * 8;
}

void vdit_int8_pack(const int8_t *matrix, const float *scales, int64_t outputs, int64_t inputs, void *packed) {
    const int64_t steps = parts_of(inputs, DEPTH), columns = parts_of(outputs, PAIR) * PAIR;
    memset(packed, 0, (size_t)vdit_int8_packed_bytes(outputs, inputs));
    float *to_scales = (float *)((char *)packed + tile_bytes(outputs, inputs));
    int32_t *to_sums = (int32_t *)(to_scales + columns);
    for (int64_t column = 0; column < outputs; column++) {
        const int8_t *from = matrix + column * inputs;
        char *to = (char *)packed + column / PAIR * steps * STEP_BYTES;
        to += column % PAIR / 16 * TILE_BYTES + column % 16 * 4;
        for (int64_t d = 0; d < inputs; d += 4) {
            const size_t count = inputs - d < 4 ? (size_t)(inputs - d) : 4;
            memcpy(to + d / DEPTH * STEP_BYTES + d % DEPTH / 4 * LINE, from + d, count);
        }
        int32_t sum = 0;
        for (int64_t d = 0; d < inputs; d++) sum += from[d];
        to_scales[column] = scales[column];
        to_sums[column] = 128 * sum;
    }
}
