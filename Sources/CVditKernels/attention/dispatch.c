#include "attention.h"

#if defined(__x86_64__)

// [instruction set][bf16 operands]: each row repeats what it does not improve.
static const vdit_attention *const table[VDIT_ISA_COUNT][2] = {
    [VDIT_ISA_SCALAR] = {&vdit_attention_scalar, &vdit_attention_scalar},
    [VDIT_ISA_AVX2] = {&vdit_attention_f32_avx2, &vdit_attention_f32_avx2},
    [VDIT_ISA_AVX512] = {&vdit_attention_f32_avx512, &vdit_attention_f32_avx512},
    [VDIT_ISA_AVX512_BF16] = {&vdit_attention_f32_avx512, &vdit_attention_bf16_avx512},
    [VDIT_ISA_AMX] = {&vdit_attention_f32_avx512, &vdit_attention_bf16_amx},
};

const vdit_attention *vdit_attention_kernel(vdit_isa isa, vdit_float_type operands) {
    return table[isa][operands == VDIT_BF16];
}

const vdit_attention *vdit_attention_amx_emulated(int interleaved) {
    return vdit_isa_supported(VDIT_ISA_AVX512_BF16) ? &vdit_attention_bf16_amx_emulated[interleaved != 0] : NULL;
}

#else

const vdit_attention *vdit_attention_kernel(vdit_isa isa, vdit_float_type operands) {
    (void)isa, (void)operands;
    return &vdit_attention_scalar;
}

const vdit_attention *vdit_attention_amx_emulated(int interleaved) {
    (void)interleaved;
    return NULL;
}

#endif
