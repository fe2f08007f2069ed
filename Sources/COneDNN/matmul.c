#include "vdit_dnnl_matmul.h"

#include <stdlib.h>

#include "shim.h"

struct vdit_dnnl_matmul {
    int64_t n, k, element_bytes;  // of the operands
    int has_bias;
    dnnl_primitive_desc_t descriptor;
    dnnl_primitive_t primitive;
    vdit_const_md x, w, bias, y, scratch;  // borrowed from the descriptor
};

static dnnl_status_t describe(int64_t m, int64_t n, int64_t k, dnnl_data_type_t operand, dnnl_data_type_t result,
                              int has_bias, dnnl_primitive_attr_t attributes, vdit_const_md like,
                              dnnl_primitive_desc_t *descriptor) {
    dnnl_engine_t engine;
    TRY(vdit_dnnl_engine(&engine));
    dnnl_dims_t x_dims = {m, k}, w_dims = {k, n}, b_dims = {1, n}, y_dims = {m, n};
    vdit_md x, w, b, y;
    TRY(vdit_dnnl_md(&x, 2, x_dims, operand, dnnl_ab));
    TRY_OR(vdit_dnnl_md(&w, 2, w_dims, operand, dnnl_format_tag_any), MD_FREE(x));
    TRY_OR(vdit_dnnl_md(&b, 2, b_dims, dnnl_f32, dnnl_ab), { MD_FREE(x); MD_FREE(w); });
    TRY_OR(vdit_dnnl_md(&y, 2, y_dims, result, dnnl_ab), { MD_FREE(x); MD_FREE(w); MD_FREE(b); });
    vdit_const_md weights = like ? like : MD_REF(w);
#if VDIT_DNNL_V3
    dnnl_status_t status = dnnl_matmul_primitive_desc_create(descriptor, engine, x, weights, has_bias ? b : NULL, y, attributes);
#else
    dnnl_matmul_desc_t operation;
    dnnl_status_t status = dnnl_matmul_desc_init(&operation, &x, weights, has_bias ? &b : NULL, &y);
    if (status == dnnl_success) status = dnnl_primitive_desc_create(descriptor, &operation, attributes, engine, NULL);
#endif
    MD_FREE(x);
    MD_FREE(w);
    MD_FREE(b);
    MD_FREE(y);
    return status;
}

int vdit_dnnl_matmul_create(int64_t m, int64_t n, int64_t k, vdit_dnnl_type operand, vdit_dnnl_type result,
                            int has_bias, vdit_dnnl_activation activation, const vdit_dnnl_matmul *like,
                            vdit_dnnl_matmul **matmul) {
    vdit_dnnl_matmul *it = calloc(1, sizeof *it);
    if (!it) return dnnl_out_of_memory;
    dnnl_primitive_attr_t attributes;
    TRY_OR(vdit_dnnl_attributes(&attributes, activation, 0), free(it));
    it->n = n;
    it->k = k;
    it->element_bytes = operand == VDIT_DNNL_BF16 ? 2 : 4;
    it->has_bias = has_bias;
    dnnl_status_t status = describe(m, n, k, vdit_dnnl_data_type(operand), vdit_dnnl_data_type(result), has_bias,
                                    attributes, like ? like->w : NULL, &it->descriptor);
    dnnl_primitive_attr_destroy(attributes);
    if (status == dnnl_success) status = dnnl_primitive_create(&it->primitive, it->descriptor);
    if (status != dnnl_success) {
        vdit_dnnl_matmul_destroy(it);
        return status;
    }
    it->x = dnnl_primitive_desc_query_md(it->descriptor, dnnl_query_src_md, 0);
    it->w = dnnl_primitive_desc_query_md(it->descriptor, dnnl_query_weights_md, 0);
    it->bias = dnnl_primitive_desc_query_md(it->descriptor, dnnl_query_weights_md, 1);
    it->y = dnnl_primitive_desc_query_md(it->descriptor, dnnl_query_dst_md, 0);
    it->scratch = dnnl_primitive_desc_query_md(it->descriptor, dnnl_query_scratchpad_md, 0);
    *matmul = it;
    return dnnl_success;
}

void vdit_dnnl_matmul_destroy(vdit_dnnl_matmul *matmul) {
    if (!matmul) return;
    if (matmul->primitive) dnnl_primitive_destroy(matmul->primitive);
    if (matmul->descriptor) dnnl_primitive_desc_destroy(matmul->descriptor);
    free(matmul);
}

int64_t vdit_dnnl_matmul_weight_bytes(const vdit_dnnl_matmul *matmul) { return (int64_t)MD_BYTES(matmul->w); }

int64_t vdit_dnnl_matmul_scratch_bytes(const vdit_dnnl_matmul *matmul) { return (int64_t)MD_BYTES(matmul->scratch); }

const char *vdit_dnnl_matmul_implementation(const vdit_dnnl_matmul *matmul) {
    const char *text = "";
    dnnl_primitive_desc_query(matmul->descriptor, dnnl_query_impl_info_str, 0, &text);
    return text;
}

enum { STEP = 64 };  // rows: the layouts' blocks are of so many at most

/// The packed rows first ..< first + count as a memory of their own, which begins `elements` into that of all.
static dnnl_status_t part_of(
    const vdit_dnnl_matmul *matmul, int64_t first, int64_t count, vdit_md *part, int64_t *elements) {
    dnnl_dims_t dims = {matmul->k, count}, offsets = {0, first};
    TRY(vdit_dnnl_md_part(part, matmul->w, dims, offsets));
    *elements = vdit_dnnl_md_offset(MD_REF(*part));
    return dnnl_success;
}

int64_t vdit_dnnl_matmul_packing_step(const vdit_dnnl_matmul *matmul) {
    vdit_md part;
    int64_t elements;
    const int64_t left = matmul->n - STEP;
    if (left <= 0 || part_of(matmul, STEP, left < STEP ? left : STEP, &part, &elements) != dnnl_success)
        return matmul->n;
    MD_FREE(part);
    return STEP;
}

static dnnl_status_t pack_part(const vdit_dnnl_matmul *matmul, vdit_const_md plain, const void *rows, int64_t first,
                               int64_t count, char *packed) {
    vdit_md part;
    int64_t elements, described;
    TRY(part_of(matmul, first, count, &part, &elements));
    described = elements;
    if (first + count < matmul->n) {
        // As the first part, so that oneDNN makes one reorder for all but the last.
        MD_FREE(part);
        TRY(part_of(matmul, 0, count, &part, &described));
    }
    dnnl_status_t status =
        vdit_dnnl_reorder(plain, rows, MD_REF(part), packed + (elements - described) * matmul->element_bytes);
    MD_FREE(part);
    return status;
}

int vdit_dnnl_matmul_pack_rows(const vdit_dnnl_matmul *matmul, const void *rows, vdit_dnnl_type type, int64_t first,
                               int64_t count, void *packed) {
    dnnl_dims_t dims = {matmul->k, count};
    vdit_md plain;
    TRY(vdit_dnnl_md(&plain, 2, dims, vdit_dnnl_data_type(type), dnnl_ba));  // [count,k] seen as k × count
    dnnl_status_t status = count == matmul->n ? vdit_dnnl_reorder(MD_REF(plain), rows, matmul->w, packed)
                                              : pack_part(matmul, MD_REF(plain), rows, first, count, packed);
    MD_FREE(plain);
    return status;
}

int vdit_dnnl_matmul_pack(const vdit_dnnl_matmul *matmul, const void *w, vdit_dnnl_type type, void *packed) {
    return vdit_dnnl_matmul_pack_rows(matmul, w, type, 0, matmul->n, packed);
}

int vdit_dnnl_matmul_run(const vdit_dnnl_matmul *matmul, const void *x, const void *packed, const float *bias,
                         void *y, void *scratch) {
    vdit_dnnl_argument arguments[5] = {
        {DNNL_ARG_SRC, matmul->x, x},
        {DNNL_ARG_WEIGHTS, matmul->w, packed},
        {DNNL_ARG_DST, matmul->y, y},
        {DNNL_ARG_SCRATCHPAD, matmul->scratch, scratch},
        {DNNL_ARG_BIAS, matmul->bias, bias},
    };
    return vdit_dnnl_execute(matmul->primitive, arguments, matmul->has_bias ? 5 : 4);
}
