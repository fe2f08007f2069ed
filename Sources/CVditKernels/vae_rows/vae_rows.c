#include <math.h>
#include <string.h>

#include "../isa.h"
#include "../kernels.h"

// The helpers that take and return vectors are always inlined: no call has an ABI to change.
#pragma clang diagnostic ignored "-Wpsabi"

typedef float v16 __attribute__((vector_size(64)));
typedef float v16u __attribute__((vector_size(64), aligned(4)));
typedef uint32_t u16 __attribute__((vector_size(64)));
typedef uint16_t h16 __attribute__((vector_size(32)));
typedef uint16_t h16u __attribute__((vector_size(32), aligned(2)));

#define NAME(x) x##_scalar
#include "vae_rows_impl.h"
#undef NAME

#if defined(__x86_64__)

VDIT_ISA_BEGIN(VDIT_TARGET_AVX2)
#define NAME(x) x##_avx2
#include "vae_rows_impl.h"
#undef NAME
VDIT_ISA_END

VDIT_ISA_BEGIN(VDIT_TARGET_AVX512)
#define NAME(x) x##_avx512
#include "vae_rows_impl.h"
#undef NAME
VDIT_ISA_END

#endif
