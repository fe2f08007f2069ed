#include "vdit_lowrank.h"

#include <string.h>

#include "../isa.h"

#pragma clang diagnostic ignored "-Wpsabi"

typedef float v16 __attribute__((vector_size(64)));

#define NAME(x) x##_plain
#include "lowrank_impl.h"
#undef NAME

#if defined(__x86_64__)

VDIT_ISA_BEGIN(VDIT_TARGET_AVX2)
#define NAME(x) x##_avx2
#include "lowrank_impl.h"
#undef NAME
VDIT_ISA_END

VDIT_ISA_BEGIN(VDIT_TARGET_AVX512)
#define NAME(x) x##_avx512
#include "lowrank_impl.h"
#undef NAME
VDIT_ISA_END

#endif

vdit_add_low_rank_fn vdit_add_low_rank_for(vdit_isa isa) {
#if defined(__x86_64__)
    if (isa >= VDIT_ISA_AVX512) return add_low_rank_avx512;
    if (isa >= VDIT_ISA_AVX2) return add_low_rank_avx2;
#endif
    (void)isa;
    return add_low_rank_plain;
}
