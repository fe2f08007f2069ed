#include "../attention/exp2.h"
#include "int8.h"

// The oracle and the fallback: a sum at a time.

enum { OFFSET = 0, GROUP_PAIRS = 1 };

static void multiply_group(const group_product *p) {
    for (int64_t row = 0; row < p->row_count; row++)
        for (int64_t column = 0; column < PAIR; column++) {
            const int8_t *values = (const int8_t *)p->rows + row * p->row_bytes;
            const int8_t *matrix = (const int8_t *)p->matrix + column / 16 * TILE_BYTES + column % 16 * 4;
            int32_t sum = 0;
            for (int64_t d = 0; d < p->steps * DEPTH; d++)
                sum += values[d] * matrix[d / DEPTH * STEP_BYTES + d % DEPTH / 4 * LINE + d % 4];
            p->sums[row * p->sum_row + column] = sum;
        }
}

#include "linear.h"

const vdit_int8_products vdit_int8_scalar = {"scalar", quantise, scratch_bytes, linear};
