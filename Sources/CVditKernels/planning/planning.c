#include "vdit_planning.h"

#include <math.h>

#include "../convert/bf16.h"
#include "../isa.h"

enum { LANES = 16 };

#define NAME(x) x##_plain
#include "planning_impl.h"
#undef NAME

#if defined(__x86_64__)

VDIT_ISA_BEGIN(VDIT_TARGET_AVX2)
#define NAME(x) x##_avx2
#include "planning_impl.h"
#undef NAME
VDIT_ISA_END

VDIT_ISA_BEGIN(VDIT_TARGET_AVX512)
#define NAME(x) x##_avx512
#include "planning_impl.h"
#undef NAME
VDIT_ISA_END

#endif

const vdit_planning_kernels *vdit_planning_kernels_for(vdit_isa isa) {
#if defined(__x86_64__)
    if (isa >= VDIT_ISA_AVX512) return &planning_kernels_avx512;
    if (isa >= VDIT_ISA_AVX2) return &planning_kernels_avx2;
#endif
    (void)isa;
    return &planning_kernels_plain;
}
