#ifndef VDIT_DNNL_MATMUL_H
#define VDIT_DNNL_MATMUL_H

#include "vdit_dnnl.h"

typedef struct vdit_dnnl_matmul vdit_dnnl_matmul;

typedef enum { VDIT_DNNL_NO_ACTIVATION = 0, VDIT_DNNL_GELU_TANH = 1, VDIT_DNNL_GELU_ERF = 2, VDIT_DNNL_SILU = 3 } vdit_dnnl_activation;

/// y[m,n] = activation(x[m,k] · wᵀ + bias), w being [n,k] packed by vdit_dnnl_matmul_pack.
/// x and w of type `operand`, y of type `result`, bias f32 or absent, accumulation f32; rows contiguous.
/// `like`, or NULL: another matmul of the same n, k and operand type whose packed weights this one must read.
int vdit_dnnl_matmul_create(int64_t m, int64_t n, int64_t k, vdit_dnnl_type operand, vdit_dnnl_type result,
                            int has_bias, vdit_dnnl_activation activation, const vdit_dnnl_matmul *like,
                            vdit_dnnl_matmul **matmul);
void vdit_dnnl_matmul_destroy(vdit_dnnl_matmul *matmul);

int64_t vdit_dnnl_matmul_weight_bytes(const vdit_dnnl_matmul *matmul);
int64_t vdit_dnnl_matmul_scratch_bytes(const vdit_dnnl_matmul *matmul);
/// oneDNN's name of the implementation chosen.
const char *vdit_dnnl_matmul_implementation(const vdit_dnnl_matmul *matmul);

/// Reorders w [n,k] row-major of type `type` into the layout the product reads (64-byte aligned).
int vdit_dnnl_matmul_pack(const vdit_dnnl_matmul *matmul, const void *w, vdit_dnnl_type type, void *packed);
/// Rows of w that can be packed apart from the others: parts begin at its multiples. n where the layout has no parts.
int64_t vdit_dnnl_matmul_packing_step(const vdit_dnnl_matmul *matmul);
/// The same of rows first ..< first + count: all, or a part. `rows` begins with the first of them, `packed` is of all.
int vdit_dnnl_matmul_pack_rows(const vdit_dnnl_matmul *matmul, const void *rows, vdit_dnnl_type type, int64_t first,
                               int64_t count, void *packed);

/// May run on several threads at once, each with scratch of its own. y overlaps nothing.
int vdit_dnnl_matmul_run(const vdit_dnnl_matmul *matmul, const void *x, const void *packed, const float *bias,
                         void *y, void *scratch);

#endif
