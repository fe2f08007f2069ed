#include "int8.h"

int64_t vdit_int8_packed_bytes(int64_t outputs, int64_t inputs) {
    return tile_bytes(outputs, inputs) + parts_of(outputs, PAIR) * PAIR * 8;
}

void vdit_int8_pack(
    const int8_t *rows, const float *scales, int64_t first, int64_t count, int64_t outputs, int64_t inputs,
    void *packed) {
    float *to_scales = (float *)((char *)packed + tile_bytes(outputs, inputs)) + first;
    int32_t *to_sums = (int32_t *)(to_scales + parts_of(outputs, PAIR) * PAIR);
    pack_columns(rows, first, count, inputs, packed);
    for (int64_t r = 0; r < count; r++) {
        const int8_t *row = rows + r * inputs;
        int32_t sum = 0;
        // In pieces whose sums 16 bits hold, twice as many of which are added at once.
        for (int64_t from = 0; from < inputs; from += 256) {
            const int64_t end = from + 256 < inputs ? from + 256 : inputs;
            int16_t piece = 0;
            for (int64_t d = from; d < end; d++) piece = (int16_t)(piece + row[d]);
            sum += piece;
        }
        to_scales[r] = scales[r];
        to_sums[r] = 128 * sum;
    }
}
