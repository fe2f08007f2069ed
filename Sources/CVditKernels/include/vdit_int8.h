#ifndef VDIT_INT8_H
#define VDIT_INT8_H

#include <stdint.h>

#include "vdit_cpu.h"
#include "vdit_product.h"

// Products of rows and packed matrices of 8-bit whole numbers, one scale to a row of either, with exact sums: what
// comes out is the same on every instruction set, bit for bit.

/// Most inputs of a layer: sums of products of 255 and -128 stay within 32 bits.
#define VDIT_INT8_MOST_INPUTS 65536

/// Room for all kernels there are.
#define VDIT_INT8_KERNELS 8

typedef struct {
    const char *name;
    /// values[r] = x[r] / scales[r] rounded to nearest even, the largest magnitude of a row being 127; all 0 with a
    /// scale of 0 where that is below 2^-100, and with a scale of NaN where a value is not finite. x [rows, columns]
    /// f32.
    void (*quantise)(const float *x, int64_t rows, int64_t columns, int8_t *values, float *scales);
    /// Bytes for `linear`, 64-byte aligned.
    int64_t (*scratch_bytes)(int64_t rows, int64_t inputs);
    /// y = activation(x · matrixᵀ + bias), each row of x, f32 or bf16, quantised first. A row's result depends on
    /// that row alone.
    void (*linear)(const vdit_linear_call *call);
} vdit_int8_products;

/// The products of an instruction set, by what else the CPU has: VNNI, AMX. Every set has some.
const vdit_int8_products *vdit_int8_products_for(vdit_isa isa);

/// Every one this CPU can run, AMX with its tile instructions done by AVX-512 too: their number. For tests.
int32_t vdit_int8_products_all(const vdit_int8_products *all[VDIT_INT8_KERNELS]);

/// Bytes of a packed matrix [outputs][inputs], the same for every instruction set.
int64_t vdit_int8_packed_bytes(int64_t outputs, int64_t inputs);

/// Packs rows first ..< first + count of a matrix [outputs][inputs], each standing for its values times its scale.
/// `rows` and `scales` begin with the first of them; `packed` was 0 before any, 64-byte aligned. Other rows are neither
/// read nor written.
void vdit_int8_pack(
    const int8_t *rows, const float *scales, int64_t first, int64_t count, int64_t outputs, int64_t inputs,
    void *packed);

#endif
