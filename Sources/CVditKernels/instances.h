// Compiles VDIT_IMPL, a file named from this folder, once per instruction set. NAME(x) names each copy.
// Included once by a kernel's .c, after what the file needs.

#include "isa.h"

#define NAME(x) x##_scalar
#include VDIT_IMPL
#undef NAME

#if defined(__x86_64__)

VDIT_ISA_BEGIN(VDIT_TARGET_AVX2)
#define NAME(x) x##_avx2
#include VDIT_IMPL
#undef NAME
VDIT_ISA_END

VDIT_ISA_BEGIN(VDIT_TARGET_AVX512)
#define NAME(x) x##_avx512
#include VDIT_IMPL
#undef NAME
VDIT_ISA_END

#endif
