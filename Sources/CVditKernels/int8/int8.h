#ifndef VDIT_INT8_KERNELS_H
#define VDIT_INT8_KERNELS_H

#include "../tile_pack.h"
#include "quantise.h"
#include "vdit_int8.h"

// A packed matrix is tiles (tile_pack.h), which are also streams of 64-byte lines that are each multiplied by four bytes
// of a row. Then the columns' scales, f32, and 128 times the sums of their values, i32.

extern const vdit_int8_products vdit_int8_scalar;
#if defined(__x86_64__)
extern const vdit_int8_products vdit_int8_avx2, vdit_int8_avx_vnni, vdit_int8_avx512_vnni;
extern const vdit_int8_products vdit_int8_amx, vdit_int8_amx_emulated;
#endif

// Bytes of one quantised row to the next: a line more than it holds, since a power of two would put many rows into one
// set of a cache.
VDIT_INLINE int64_t bytes_of_row(int64_t inputs) { return parts_of(inputs, DEPTH) * DEPTH + LINE; }

/// The products of all rows with a group of columns: sums[row][column], sum_row from a row to the next.
typedef struct {
    const uint8_t *rows;  // row_bytes from one to the next
    int64_t row_bytes, row_count;
    const char *matrix;   // the group's first pair of column tiles
    int64_t pairs, steps;
    int64_t pairs_left;   // of the matrix from here on, this group's among them
    int32_t *sums;
    int64_t sum_row;
} group_product;

#endif
