#ifndef VDIT_PRODUCT_H
#define VDIT_PRODUCT_H

#include <stdint.h>

#include "vdit_cpu.h"
#include "vdit_rows.h"

// Products of bf16 rows and packed bf16 matrices, summed in fp32 by tiles of 16 rows and 16 columns, 32 of the depth
// at a step. A sum's order is that of the steps, whatever else is computed with it.

/// sums[row][column] = Σ a[row][d] · matrix[column][d] over the depth.
///
/// The 16 rows of a row tile are row_bytes apart, row tiles tile_bytes; from a row's start, the operands of step s are
/// steps[s] bytes away. So the rows may be those of a matrix, or pixels with the taps of a convolution around them.
typedef struct {
    const void *rows;
    int64_t row_bytes, tile_bytes;
    const int32_t *steps;
    int32_t step_count, row_tiles;
    const void *matrix;    // packed, 64-byte aligned
    int32_t column_tiles;  // even
    // Of the sums, in floats: from a row of a tile to the next, from a tile to the one below, to the one beside.
    float *sums;
    int64_t sum_row, sum_tile, sum_column;
} vdit_tile_product;

typedef enum { VDIT_PLAIN = 0, VDIT_GELU_TANH = 1, VDIT_SILU = 2 } vdit_activation;

/// y = activation(x · matrixᵀ + bias): `rows` rows of `inputs` and of `outputs`, each f32 or bf16, both dense.
typedef struct {
    const void *x;
    vdit_float_type x_type;
    int64_t rows, inputs, outputs;
    const void *matrix;  // packed
    const float *bias;   // [outputs] or NULL
    vdit_activation activation;
    void *y;
    vdit_float_type y_type;
    void *scratch;  // scratch_bytes(rows, inputs) bytes, 64-byte aligned
} vdit_linear_call;

typedef struct {
    const char *name;
    /// Bytes of a packed matrix [columns][depth].
    int64_t (*packed_bytes)(int64_t columns, int64_t depth);
    /// Packs columns first ..< first + count of a matrix [columns][depth] bf16 into whole tiles. `matrix` begins with the
    /// first of them; `packed` was 0 before any, and remains so beyond the matrix.
    void (*pack)(const void *matrix, int64_t first, int64_t count, int64_t depth, void *packed);
    void (*multiply)(const vdit_tile_product *product);
    int64_t (*scratch_bytes)(int64_t rows, int64_t inputs);
    void (*linear)(const vdit_linear_call *call);  // x is bf16
} vdit_products;

/// The products of an instruction set; NULL where tiles are not what it has.
const vdit_products *vdit_products_for(vdit_isa isa);

/// The same with the tile instructions done by AVX-512, for tests; NULL where the CPU lacks AVX-512 BF16.
const vdit_products *vdit_products_emulated(void);

#endif
