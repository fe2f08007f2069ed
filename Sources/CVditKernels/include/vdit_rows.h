#ifndef VDIT_ROWS_H
#define VDIT_ROWS_H

#include <stdint.h>

#include "vdit_cpu.h"

typedef enum { VDIT_F32 = 0, VDIT_BF16 = 1, VDIT_F16 = 2, VDIT_F64 = 3 } vdit_float_type;

/// count floats of one type into another: exact widening, narrowing to nearest even (NaN stays NaN).
/// src and dst do not overlap. The result is the same on every instruction set.
void vdit_convert(const void *src, vdit_float_type src_type, void *dst, vdit_float_type dst_type, int64_t count);

/// Whether all count values of an f32, bf16 or f16 array are finite.
int vdit_all_finite(const void *x, vdit_float_type type, int64_t count);

/// Work on rows of activations between the matrix products. Nothing here overlaps its output, and a row's
/// result depends on that row alone. Outputs are f32 or bf16.
typedef struct {
    /// out[r] = (x[r] - mean) / sqrt(variance + eps) · scale + shift, over `columns`; x [rows, columns] f32.
    /// scale and shift [columns] f32, or NULL for 1 and 0.
    void (*layer_norm)(const float *x, int64_t rows, int64_t columns, float eps, const float *scale,
                       const float *shift, void *out, vdit_float_type out_type);

    /// The same without a mean: out[r] = x[r] / sqrt(mean square + eps) · scale + shift.
    void (*rms_norm)(const float *x, int64_t rows, int64_t columns, float eps, const float *scale,
                     const float *shift, void *out, vdit_float_type out_type);

    /// x[r] += gate · y[r]; x, y [rows, columns] f32; gate [columns] f32, or NULL for 1.
    void (*gated_add)(float *x, const float *y, const float *gate, int64_t rows, int64_t columns);

    /// Splits rows into heads, after an RMS norm and a rotary embedding where asked for.
    /// x             [rows, heads · head_dim] f32, rows x_stride apart
    /// weight        [heads · head_dim] of the RMS norm, or NULL for no norm
    /// norm_columns  values one mean square covers: heads · head_dim, or head_dim
    /// cosine, sine  [rows, rotary_pairs] f32: pairs (2i, 2i+1) turn by the i-th angle; or NULL
    /// rotary_pairs  head_dim / 2, the same angles for all heads, or heads · head_dim / 2
    /// out           element (row, head, i) at row · row_stride + head · head_stride + i
    void (*split_heads)(const float *x, int64_t x_stride, int64_t rows, int64_t heads, int64_t head_dim,
                        const float *weight, int64_t norm_columns, float eps, const float *cosine,
                        const float *sine, int64_t rotary_pairs, void *out, vdit_float_type out_type, int64_t row_stride,
                        int64_t head_stride);
} vdit_row_kernels;

/// The kernels of an instruction set, or of the best one before it that has any.
const vdit_row_kernels *vdit_row_kernels_for(vdit_isa isa);

#endif
