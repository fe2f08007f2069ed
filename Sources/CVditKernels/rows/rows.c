#include "vdit_rows.h"

#include <math.h>

#include "../convert/bf16.h"
#include "../isa.h"

enum { BLOCK = 256 };  // head_dim is at most 256

#define NAME(x) x##_plain
#include "rows_impl.h"
#undef NAME

#if defined(__x86_64__)

VDIT_ISA_BEGIN(VDIT_TARGET_AVX2)
#define NAME(x) x##_avx2
#include "rows_impl.h"
#undef NAME
VDIT_ISA_END

VDIT_ISA_BEGIN(VDIT_TARGET_AVX512)
#define NAME(x) x##_avx512
#include "rows_impl.h"
#undef NAME
VDIT_ISA_END

#endif

const vdit_row_kernels *vdit_row_kernels_for(vdit_isa isa) {
#if defined(__x86_64__)
    if (isa >= VDIT_ISA_AVX512) return &row_kernels_avx512;
    if (isa >= VDIT_ISA_AVX2) return &row_kernels_avx2;
#endif
    (void)isa;
    return &row_kernels_plain;
}
