#include "attention/attention.h"
#include "kernels.h"

typedef struct {
    const vdit_attention *attention_f32, *attention_bf16;  // by the type of the operands
    const vdit_row_kernels *rows;
    const vdit_planning_kernels *planning;
    const vdit_vae_rows *vae_rows;
    vdit_low_rank_add *add_low_rank;
    vdit_q8_0_decode *decode_q8_0;
    const vdit_products *products;
    vdit_peak_loop *peak_f32, *peak_bf16;
} vdit_kernels;

// A row per instruction set names what the set improves; the rest is that of the row before it.
static const vdit_kernels sets[VDIT_ISA_COUNT] = {
    [VDIT_ISA_SCALAR] = {
        .attention_f32 = &vdit_attention_scalar,
        .attention_bf16 = &vdit_attention_scalar,
        .rows = &vdit_rows_scalar,
        .planning = &vdit_planning_scalar,
        .vae_rows = &vdit_vae_rows_scalar,
        .add_low_rank = vdit_add_low_rank_scalar,
        .decode_q8_0 = vdit_q8_0_decode_scalar,
    },
#if defined(__x86_64__)
    [VDIT_ISA_AVX2] = {
        .attention_f32 = &vdit_attention_f32_avx2,
        .attention_bf16 = &vdit_attention_f32_avx2,
        .rows = &vdit_rows_avx2,
        .planning = &vdit_planning_avx2,
        .vae_rows = &vdit_vae_rows_avx2,
        .add_low_rank = vdit_add_low_rank_avx2,
        .decode_q8_0 = vdit_q8_0_decode_avx2,
        .peak_f32 = vdit_peak_f32_avx2,
    },
    [VDIT_ISA_AVX512] = {
        .attention_f32 = &vdit_attention_f32_avx512,
        .attention_bf16 = &vdit_attention_f32_avx512,
        .rows = &vdit_rows_avx512,
        .planning = &vdit_planning_avx512,
        .vae_rows = &vdit_vae_rows_avx512,
        .add_low_rank = vdit_add_low_rank_avx512,
        .decode_q8_0 = vdit_q8_0_decode_avx512,
        .peak_f32 = vdit_peak_f32_avx512,
    },
    [VDIT_ISA_AVX512_BF16] = {
        .attention_bf16 = &vdit_attention_bf16_avx512,
        .peak_bf16 = vdit_peak_bf16_avx512,
    },
    [VDIT_ISA_AMX] = {
        .attention_bf16 = &vdit_attention_bf16_amx,
        .products = &vdit_products_amx,
        .peak_bf16 = vdit_peak_bf16_amx,
    },
#endif
};

// Returns `kernel` of the set, or of the nearest one before it that names one; NULL if none does.
#define RETURN_NEAREST(isa, kernel)                                      \
    do {                                                                 \
        while ((isa) > VDIT_ISA_SCALAR && !sets[isa].kernel) (isa)--; \
        return sets[isa].kernel;                                         \
    } while (0)

const vdit_attention *vdit_attention_kernel(vdit_isa isa, vdit_float_type operands) {
    if (operands == VDIT_BF16) RETURN_NEAREST(isa, attention_bf16);
    RETURN_NEAREST(isa, attention_f32);
}

const vdit_row_kernels *vdit_row_kernels_for(vdit_isa isa) { RETURN_NEAREST(isa, rows); }

const vdit_planning_kernels *vdit_planning_kernels_for(vdit_isa isa) { RETURN_NEAREST(isa, planning); }

const vdit_vae_rows *vdit_vae_rows_for(vdit_isa isa) { RETURN_NEAREST(isa, vae_rows); }

vdit_low_rank_add *vdit_add_low_rank_for(vdit_isa isa) { RETURN_NEAREST(isa, add_low_rank); }

vdit_q8_0_decode *vdit_q8_0_decode_for(vdit_isa isa) { RETURN_NEAREST(isa, decode_q8_0); }

const vdit_products *vdit_products_for(vdit_isa isa) { RETURN_NEAREST(isa, products); }

vdit_peak_loop *vdit_peak_multiply_add(vdit_isa isa, vdit_float_type type) {
    if (type == VDIT_BF16) RETURN_NEAREST(isa, peak_bf16);
    RETURN_NEAREST(isa, peak_f32);
}

const vdit_attention *vdit_attention_amx_emulated(void) {
#if defined(__x86_64__)
    if (vdit_isa_supported(VDIT_ISA_AVX512_BF16)) return &vdit_attention_bf16_amx_emulated;
#endif
    return NULL;
}

const vdit_products *vdit_products_emulated(void) {
#if defined(__x86_64__)
    if (vdit_isa_supported(VDIT_ISA_AVX512_BF16)) return &vdit_products_amx_emulated;
#endif
    return NULL;
}
