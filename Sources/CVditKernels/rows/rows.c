#include <math.h>

#include "../convert/bf16.h"
#include "../isa.h"
#include "../kernels.h"

enum { BLOCK = 256 };  // head_dim is at most 256

#define NAME(x) x##_scalar
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
