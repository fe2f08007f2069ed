#include "vdit_dnnl_conv.h"

#include <stdlib.h>

#include "shim.h"

struct vdit_dnnl_conv {
    dnnl_dims_t w_dims;
    dnnl_primitive_desc_t descriptor;
    dnnl_primitive_t primitive;
    vdit_const_md x, w, y, scratch;  // borrowed from the descriptor
};

static dnnl_status_t describe(const dnnl_dims_t x_dims, const dnnl_dims_t w_dims, const dnnl_dims_t y_dims,
                              int64_t stride, dnnl_data_type_t operand, dnnl_primitive_attr_t attributes,
                              dnnl_primitive_desc_t *descriptor) {
    dnnl_engine_t engine;
    TRY(vdit_dnnl_engine(&engine));
    dnnl_dims_t strides = {stride, stride}, none = {0, 0};
    vdit_md x, w, y;
    TRY(vdit_dnnl_md(&x, 4, x_dims, operand, dnnl_nhwc));
    TRY_OR(vdit_dnnl_md(&w, 4, w_dims, operand, dnnl_format_tag_any), MD_FREE(x));
    TRY_OR(vdit_dnnl_md(&y, 4, y_dims, dnnl_f32, dnnl_nhwc), { MD_FREE(x); MD_FREE(w); });
#if VDIT_DNNL_V3
    dnnl_status_t status = dnnl_convolution_forward_primitive_desc_create(
        descriptor, engine, dnnl_forward_inference, dnnl_convolution_direct, x, w, NULL, y, strides, none, none, none,
        attributes);
#else
    dnnl_convolution_desc_t operation;
    dnnl_status_t status = dnnl_convolution_forward_desc_init(&operation, dnnl_forward_inference, dnnl_convolution_direct,
                                                              &x, &w, NULL, &y, strides, none, none);
    if (status == dnnl_success) status = dnnl_primitive_desc_create(descriptor, &operation, attributes, engine, NULL);
#endif
    MD_FREE(x);
    MD_FREE(w);
    MD_FREE(y);
    return status;
}

int vdit_dnnl_conv_create(int64_t in_channels, int64_t out_channels, int64_t kernel_h, int64_t kernel_w, int64_t stride,
                          int64_t height, int64_t width, vdit_dnnl_type operand, vdit_dnnl_conv **conv) {
    vdit_dnnl_conv *it = calloc(1, sizeof *it);
    if (!it) return dnnl_out_of_memory;
    dnnl_primitive_attr_t attributes;
    TRY_OR(vdit_dnnl_attributes(&attributes, 0, 0), free(it));
    dnnl_dims_t x_dims = {1, in_channels, (height - 1) * stride + kernel_h, (width - 1) * stride + kernel_w};
    dnnl_dims_t y_dims = {1, out_channels, height, width};
    it->w_dims[0] = out_channels;
    it->w_dims[1] = in_channels;
    it->w_dims[2] = kernel_h;
    it->w_dims[3] = kernel_w;
    dnnl_status_t status =
        describe(x_dims, it->w_dims, y_dims, stride, vdit_dnnl_data_type(operand), attributes, &it->descriptor);
    dnnl_primitive_attr_destroy(attributes);
    if (status == dnnl_success) status = dnnl_primitive_create(&it->primitive, it->descriptor);
    if (status != dnnl_success) {
        vdit_dnnl_conv_destroy(it);
        return status;
    }
    it->x = dnnl_primitive_desc_query_md(it->descriptor, dnnl_query_src_md, 0);
    it->w = dnnl_primitive_desc_query_md(it->descriptor, dnnl_query_weights_md, 0);
    it->y = dnnl_primitive_desc_query_md(it->descriptor, dnnl_query_dst_md, 0);
    it->scratch = dnnl_primitive_desc_query_md(it->descriptor, dnnl_query_scratchpad_md, 0);
    *conv = it;
    return dnnl_success;
}

void vdit_dnnl_conv_destroy(vdit_dnnl_conv *conv) {
    if (!conv) return;
    if (conv->primitive) dnnl_primitive_destroy(conv->primitive);
    if (conv->descriptor) dnnl_primitive_desc_destroy(conv->descriptor);
    free(conv);
}

int64_t vdit_dnnl_conv_weight_bytes(const vdit_dnnl_conv *conv) { return (int64_t)MD_BYTES(conv->w); }

int64_t vdit_dnnl_conv_scratch_bytes(const vdit_dnnl_conv *conv) { return (int64_t)MD_BYTES(conv->scratch); }

const char *vdit_dnnl_conv_implementation(const vdit_dnnl_conv *conv) {
    const char *text = "";
    dnnl_primitive_desc_query(conv->descriptor, dnnl_query_impl_info_str, 0, &text);
    return text;
}

int vdit_dnnl_conv_pack(const vdit_dnnl_conv *conv, const float *w, void *packed) {
    vdit_md plain;
    TRY(vdit_dnnl_md(&plain, 4, conv->w_dims, dnnl_f32, dnnl_oihw));
    dnnl_status_t status = vdit_dnnl_reorder(MD_REF(plain), w, conv->w, packed);
    MD_FREE(plain);
    return status;
}

int vdit_dnnl_conv_same_weights(const vdit_dnnl_conv *a, const vdit_dnnl_conv *b) {
    return dnnl_memory_desc_equal(a->w, b->w);
}

int vdit_dnnl_conv_repack(const vdit_dnnl_conv *from, const void *packed, const vdit_dnnl_conv *to, void *repacked) {
    // By way of plain weights: from one blocking to another oneDNN goes element by element.
    const int64_t count = from->w_dims[0] * from->w_dims[1] * from->w_dims[2] * from->w_dims[3];
    float *plain = aligned_alloc(64, (size_t)(count * 4 + 63) / 64 * 64);
    if (!plain) return dnnl_out_of_memory;
    vdit_md layout;
    TRY_OR(vdit_dnnl_md(&layout, 4, from->w_dims, dnnl_f32, dnnl_oihw), free(plain));
    dnnl_status_t status = vdit_dnnl_reorder(from->w, packed, MD_REF(layout), plain);
    MD_FREE(layout);
    if (status == dnnl_success) status = vdit_dnnl_conv_pack(to, plain, repacked);
    free(plain);
    return status;
}

int vdit_dnnl_conv_run(const vdit_dnnl_conv *conv, const void *x, const void *packed, float *y, void *scratch) {
    vdit_dnnl_argument arguments[4] = {
        {DNNL_ARG_SRC, conv->x, x},
        {DNNL_ARG_WEIGHTS, conv->w, packed},
        {DNNL_ARG_DST, conv->y, y},
        {DNNL_ARG_SCRATCHPAD, conv->scratch, scratch},
    };
    return vdit_dnnl_execute(conv->primitive, arguments, 4);
}
