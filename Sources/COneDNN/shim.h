#ifndef VDIT_DNNL_SHIM_H
#define VDIT_DNNL_SHIM_H

#include <oneapi/dnnl/dnnl.h>

#include "vdit_dnnl.h"

// What the 2.x and 3.x interfaces spell differently, said once.

#define VDIT_DNNL_V3 (DNNL_VERSION_MAJOR >= 3)

#define TRY(call)                                  \
    do {                                           \
        dnnl_status_t status_ = (call);            \
        if (status_ != dnnl_success) return status_; \
    } while (0)

#define TRY_OR(call, cleanup)                      \
    do {                                           \
        dnnl_status_t status_ = (call);            \
        if (status_ != dnnl_success) {             \
            cleanup;                               \
            return status_;                        \
        }                                          \
    } while (0)

#if VDIT_DNNL_V3
typedef dnnl_memory_desc_t vdit_md;                     // an owned handle
typedef const_dnnl_memory_desc_t vdit_const_md;         // a borrowed one
#define MD_REF(md) (md)
#define MD_FREE(md) dnnl_memory_desc_destroy(md)
#define MD_BYTES(md) dnnl_memory_desc_get_size(md)
#else
typedef dnnl_memory_desc_t vdit_md;
typedef const dnnl_memory_desc_t *vdit_const_md;
#define MD_REF(md) (&(md))
#define MD_FREE(md) ((void)(md))
#define MD_BYTES(md) dnnl_memory_desc_get_size(md)
#endif

/// The process's CPU engine, made on first use.
dnnl_status_t vdit_dnnl_engine(dnnl_engine_t *engine);
/// The calling thread's stream, made on first use.
dnnl_status_t vdit_dnnl_stream(dnnl_stream_t *stream);
/// A plain descriptor by format tag.
dnnl_status_t vdit_dnnl_md(vdit_md *md, int rank, const dnnl_dims_t dims, dnnl_data_type_t type, dnnl_format_tag_t tag);
/// The part of a memory that begins at `offsets`; fails where the layout's blocks would be cut.
dnnl_status_t vdit_dnnl_md_part(vdit_md *part, vdit_const_md whole, const dnnl_dims_t dims, const dnnl_dims_t offsets);
/// Elements from a memory's address to its first one.
int64_t vdit_dnnl_md_offset(vdit_const_md md);
/// Copies one memory into another layout or type.
dnnl_status_t vdit_dnnl_reorder(vdit_const_md from, const void *source, vdit_const_md to, void *destination);
/// Runs a primitive on borrowed buffers: `count` pairs of argument index and buffer.
typedef struct {
    int index;
    vdit_const_md md;
    const void *data;
} vdit_dnnl_argument;
dnnl_status_t vdit_dnnl_execute(const_dnnl_primitive_t primitive, const vdit_dnnl_argument *arguments, int count);
/// Attributes: user-owned scratchpad, and the activation (a vdit_dnnl_activation) after the sum if `accumulate`.
dnnl_status_t vdit_dnnl_attributes(dnnl_primitive_attr_t *attributes, int activation, int accumulate);

static inline dnnl_data_type_t vdit_dnnl_data_type(vdit_dnnl_type type) {
    return type == VDIT_DNNL_BF16 ? dnnl_bf16 : dnnl_f32;
}

#endif
