#ifndef VDIT_VAE_ROWS_H
#define VDIT_VAE_ROWS_H

#include <stdint.h>

#include "vdit_cpu.h"
#include "vdit_rows.h"

// What happens around a tiled convolution: its input is gathered from frames, its products are finished
// into frames. Frames are [height, width, channels], f32 or bf16; tiles are dense, tile[row][column][channel].

/// A tile cut out of a frame, or out of the sum or difference of two. Outside the frame it is zero, or what the
/// nearest pixel within is.
///
/// With a plane the tile is what F(2, 3) of Winograd along its rows multiplies, four tiles [row][pair][channel] of half
/// as many columns each: of columns 2j to 2j + 3 the differences and sums 0 - 2, 1 + 2, 2 - 1 and 1 - 3.
typedef struct {
    const void *first, *second;  // frames of one type and shape; NULL: a frame of zeros
    float sign;                  // tile = first + sign * second, sign being 1 or -1
    vdit_float_type from, to;    // f32 to f32, bf16 to bf16, or f32 to bf16
    int64_t height, width, channels;
    int64_t top, left;           // the tile's corner in the frame; may be negative
    int64_t tile_height, tile_width;  // with a plane: pairs
    int64_t plane;               // elements from one of four tiles to the next, channels a multiple of 16; or 0
    int replicated;              // outside is the nearest pixel; at least one column of the tile is inside
} vdit_vae_gather;

/// Pixels made from a convolution's products:
///   value = terms[0] + sign * (terms[1] + terms[2]) + bias + noise * noise_scale + residual, or 0 where relu is set and
///           that is less
///   stream = value,  operand = value, or silu(normalised value), or normalised value
/// where normalised(v) = v / max(|v|, 1e-12) * sqrt(channels) * gamma + shift, |v| over the pixel's channels, in f32;
/// with an epsilon above 0 the divisor is sqrt(|v|^2 / channels + epsilon) instead of |v| / sqrt(channels).
///
/// With a plane each term is the four products that F(2, 3) makes two pixels of: 0 + 1 + 2 and 1 - 2 - 3.
typedef struct {
    const float *terms[3];
    int term_count;               // 1 to 3
    int64_t plane;                // elements from one of a term's four products to the next, or 0
    float sign;
    const float *bias;            // [channels] or NULL
    const float *noise;           // a number for each pixel, or NULL
    const float *noise_scale;     // [channels]
    const float *residual;        // dense pixels, or NULL
    int relu;
    float *value;                 // scratch, [2 * channels]
    void *stream;                 // of stream_type, pixel_stride apart, or NULL
    vdit_float_type stream_type;  // f32 or bf16
    void *operand;                // of operand_type, pixel_stride apart, or NULL
    vdit_float_type operand_type; // f32 or bf16
    const float *gamma;           // [channels]; NULL leaves the operand unnormalised
    const float *shift;           // [channels] or NULL
    float epsilon;
    int silu;
    int64_t pixel_stride;         // elements from one pixel of stream and operand to the next
} vdit_vae_finish;

/// Pixels normalised by statistics that are known:
///   operand = value * scale + shift, that times guide[c] plus guide[channels + c], SiLU of it
typedef struct {
    const float *pixels;          // dense
    const float *scale, *shift;   // [channels]
    const float *guide;           // [2 * channels] for every pixels_per_guide pixels, dense; NULL for none
    int64_t pixels_per_guide;
    int silu;
    void *operand;                // dense
    vdit_float_type operand_type; // f32 or bf16
} vdit_vae_normalize;

typedef struct {
    void (*gather)(const vdit_vae_gather *what, void *tile);
    /// One row of pixels, dense in terms and residual.
    void (*finish)(const vdit_vae_finish *what, int64_t pixels, int64_t channels);
    /// probabilities[count] = softmax(scale * scores[count]); scores is overwritten.
    void (*softmax)(float *scores, int64_t count, float scale, void *probabilities, vdit_float_type type);
    /// Adds to sums[channels] the pixels' values and to sums[channels + c] their squares, in f64.
    void (*moments)(const float *pixels, int64_t count, int64_t channels, double *sums);
    void (*normalize)(const vdit_vae_normalize *what, int64_t count, int64_t channels);
} vdit_vae_rows;

/// The kernels for an instruction set: its own, or those of the nearest set below it.
const vdit_vae_rows *vdit_vae_rows_for(vdit_isa isa);

#endif
