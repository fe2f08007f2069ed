#ifndef VDIT_INT8_KERNELS_H
#define VDIT_INT8_KERNELS_H

#include "quantise.h"
#include "vdit_int8.h"

// A packed matrix is [pair of column tiles][step][2] tiles of 1 KiB, a tile being 16 fours of the depth × 16 columns ×
// 4 bytes, zeros beyond the matrix: tiles as AMX takes them, and streams of 64-byte lines that are each multiplied by
// four bytes of a row. Then the columns' scales, f32, and 128 times the sums of their values, i32.

extern const vdit_int8_products vdit_int8_scalar;
#if defined(__x86_64__)
extern const vdit_int8_products vdit_int8_avx2, vdit_int8_avx_vnni, vdit_int8_avx512_vnni;
extern const vdit_int8_products vdit_int8_amx, vdit_int8_amx_emulated;
#endif

enum {
    LINE = 64,         // bytes: four of the depth of 16 columns
    TILE_BYTES = 1024,
    DEPTH = 64,        // of a step
    STEP_BYTES = 2 * TILE_BYTES,  // of a pair of column tiles
    PAIR = 32,         // columns
};

VDIT_INLINE int64_t parts_of(int64_t extent, int64_t part) { return (extent + part - 1) / part; }

VDIT_INLINE int64_t tile_bytes(int64_t outputs, int64_t inputs) {
    return parts_of(outputs, PAIR) * parts_of(inputs, DEPTH) * STEP_BYTES;
}

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
