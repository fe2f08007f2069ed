#define _GNU_SOURCE
#include "shim.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#include "vdit_dnnl_matmul.h"

void vdit_dnnl_serial(void) {
    // oneDNN asks OpenMP how many threads to use; the limit is per calling thread. A build of oneDNN with
    // another run time has no such symbol and needs none.
    void (*set_threads)(int) = (void (*)(int))dlsym(RTLD_DEFAULT, "omp_set_num_threads");
    if (set_threads) set_threads(1);
}

void vdit_dnnl_limit(int instruction_set) {
#if defined(__x86_64__)
    static const dnnl_cpu_isa_t limits[] = {dnnl_cpu_isa_sse41, dnnl_cpu_isa_avx2, dnnl_cpu_isa_avx512_core,
                                            dnnl_cpu_isa_avx512_core_bf16, dnnl_cpu_isa_avx512_core_amx};
    if (instruction_set >= 0 && instruction_set <= 4) dnnl_set_max_cpu_isa(limits[instruction_set]);
#else
    (void)instruction_set;
#endif
}

void vdit_dnnl_version(char *text, int64_t capacity) {
    const dnnl_version_t *version = dnnl_version();
    snprintf(text, (size_t)capacity, "%d.%d.%d", version->major, version->minor, version->patch);
}

static pthread_once_t engine_once = PTHREAD_ONCE_INIT;
static dnnl_engine_t engine_instance;
static dnnl_status_t engine_status;

static void make_engine(void) { engine_status = dnnl_engine_create(&engine_instance, dnnl_cpu, 0); }

dnnl_status_t vdit_dnnl_engine(dnnl_engine_t *engine) {
    pthread_once(&engine_once, make_engine);
    *engine = engine_instance;
    return engine_status;
}

static pthread_once_t stream_once = PTHREAD_ONCE_INIT;
static pthread_key_t stream_key;

static void destroy_stream(void *stream) { dnnl_stream_destroy(stream); }
static void make_stream_key(void) { pthread_key_create(&stream_key, destroy_stream); }

dnnl_status_t vdit_dnnl_stream(dnnl_stream_t *stream) {
    pthread_once(&stream_once, make_stream_key);
    *stream = pthread_getspecific(stream_key);
    if (*stream) return dnnl_success;
    dnnl_engine_t engine;
    TRY(vdit_dnnl_engine(&engine));
    TRY(dnnl_stream_create(stream, engine, dnnl_stream_default_flags));
    pthread_setspecific(stream_key, *stream);
    return dnnl_success;
}

dnnl_status_t vdit_dnnl_md(vdit_md *md, int rank, const dnnl_dims_t dims, dnnl_data_type_t type, dnnl_format_tag_t tag) {
#if VDIT_DNNL_V3
    return dnnl_memory_desc_create_with_tag(md, rank, dims, type, tag);
#else
    return dnnl_memory_desc_init_by_tag(md, rank, dims, type, tag);
#endif
}

dnnl_status_t vdit_dnnl_md_part(vdit_md *part, vdit_const_md whole, const dnnl_dims_t dims, const dnnl_dims_t offsets) {
#if VDIT_DNNL_V3
    return dnnl_memory_desc_create_submemory(part, whole, dims, offsets);
#else
    return dnnl_memory_desc_init_submemory(part, whole, dims, offsets);
#endif
}

int64_t vdit_dnnl_md_offset(vdit_const_md md) {
#if VDIT_DNNL_V3
    dnnl_dim_t offset = 0;
    dnnl_memory_desc_query(md, dnnl_query_submemory_offset_s64, &offset);
    return offset;
#else
    return md->offset0;
#endif
}

dnnl_status_t vdit_dnnl_execute(const_dnnl_primitive_t primitive, const vdit_dnnl_argument *arguments, int count) {
    enum { MOST = 8 };
    dnnl_exec_arg_t list[MOST];
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    if (count > MOST) return dnnl_invalid_arguments;
    TRY(vdit_dnnl_engine(&engine));
    TRY(vdit_dnnl_stream(&stream));
    dnnl_status_t status = dnnl_success;
    int made = 0;
    for (; made < count && status == dnnl_success; made++) {
        list[made].arg = arguments[made].index;
        status = dnnl_memory_create(&list[made].memory, arguments[made].md, engine, (void *)arguments[made].data);
        if (status != dnnl_success) break;
    }
    if (status == dnnl_success) status = dnnl_primitive_execute(primitive, stream, count, list);
    if (status == dnnl_success) status = dnnl_stream_wait(stream);
    for (int i = 0; i < made; i++) dnnl_memory_destroy(list[i].memory);
    return status;
}

dnnl_status_t vdit_dnnl_reorder(vdit_const_md from, const void *source, vdit_const_md to, void *destination) {
    dnnl_engine_t engine;
    dnnl_primitive_desc_t descriptor;
    dnnl_primitive_t reorder;
    TRY(vdit_dnnl_engine(&engine));
    TRY(dnnl_reorder_primitive_desc_create(&descriptor, from, engine, to, engine, NULL));
    dnnl_status_t status = dnnl_primitive_create(&reorder, descriptor);
    if (status == dnnl_success) {
        vdit_dnnl_argument arguments[] = {{DNNL_ARG_FROM, from, source}, {DNNL_ARG_TO, to, destination}};
        status = vdit_dnnl_execute(reorder, arguments, 2);
        dnnl_primitive_destroy(reorder);
    }
    dnnl_primitive_desc_destroy(descriptor);
    return status;
}

static dnnl_status_t append_activation(dnnl_post_ops_t operations, dnnl_alg_kind_t kind, float alpha) {
#if VDIT_DNNL_V3
    return dnnl_post_ops_append_eltwise(operations, kind, alpha, 0.0f);
#else
    return dnnl_post_ops_append_eltwise(operations, 1.0f, kind, alpha, 0.0f);
#endif
}

static dnnl_status_t append_sum(dnnl_post_ops_t operations) {
#if VDIT_DNNL_V3
    return dnnl_post_ops_append_sum(operations, 1.0f, 0, dnnl_data_type_undef);
#else
    return dnnl_post_ops_append_sum(operations, 1.0f);
#endif
}

dnnl_status_t vdit_dnnl_attributes(dnnl_primitive_attr_t *attributes, int activation, int accumulate) {
    dnnl_post_ops_t operations;
    TRY(dnnl_primitive_attr_create(attributes));
    TRY_OR(dnnl_post_ops_create(&operations), dnnl_primitive_attr_destroy(*attributes));
    dnnl_status_t status = dnnl_primitive_attr_set_scratchpad_mode(*attributes, dnnl_scratchpad_mode_user);
    if (status == dnnl_success && accumulate) status = append_sum(operations);
    if (status == dnnl_success) switch (activation) {
    case VDIT_DNNL_GELU_TANH: status = append_activation(operations, dnnl_eltwise_gelu_tanh, 0); break;
    case VDIT_DNNL_GELU_ERF: status = append_activation(operations, dnnl_eltwise_gelu_erf, 0); break;
    case VDIT_DNNL_SILU: status = append_activation(operations, dnnl_eltwise_swish, 1.0f); break;
    default: break;
    }
    if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(*attributes, operations);
    dnnl_post_ops_destroy(operations);
    if (status != dnnl_success) dnnl_primitive_attr_destroy(*attributes);
    return status;
}
