#ifndef VDIT_DNNL_CONV_H
#define VDIT_DNNL_CONV_H

#include "vdit_dnnl.h"

typedef struct vdit_dnnl_conv vdit_dnnl_conv;

/// One 2-D convolution of channels-last tiles without padding or bias:
///   y[height, width, out] = x[(height-1)*stride+kernel_h, (width-1)*stride+kernel_w, in] * w[out, in, kernel_h, kernel_w].
/// x and w of type `operand`, y f32, accumulation f32. height and width are those of y.
int vdit_dnnl_conv_create(int64_t in_channels, int64_t out_channels, int64_t kernel_h, int64_t kernel_w, int64_t stride,
                          int64_t height, int64_t width, vdit_dnnl_type operand, vdit_dnnl_conv **conv);
void vdit_dnnl_conv_destroy(vdit_dnnl_conv *conv);

int64_t vdit_dnnl_conv_weight_bytes(const vdit_dnnl_conv *conv);
int64_t vdit_dnnl_conv_scratch_bytes(const vdit_dnnl_conv *conv);
/// oneDNN's name of the implementation chosen.
const char *vdit_dnnl_conv_implementation(const vdit_dnnl_conv *conv);

/// Reorders w [out, in, kernel_h, kernel_w] f32 into the layout and type the convolution reads (64-byte aligned).
int vdit_dnnl_conv_pack(const vdit_dnnl_conv *conv, const float *w, void *packed);
/// Whether weights packed for `a` can be read by `b`: the layout oneDNN chooses may depend on the tile.
int vdit_dnnl_conv_same_weights(const vdit_dnnl_conv *a, const vdit_dnnl_conv *b);
/// Weights packed for `from`, into the layout of `to`; both convolutions have the same w.
int vdit_dnnl_conv_repack(const vdit_dnnl_conv *from, const void *packed, const vdit_dnnl_conv *to, void *repacked);

/// May run on several threads at once, each with scratch of its own. y overlaps nothing.
int vdit_dnnl_conv_run(const vdit_dnnl_conv *conv, const void *x, const void *packed, float *y, void *scratch);

#endif
