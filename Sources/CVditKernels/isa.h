#ifndef VDIT_ISA_H
#define VDIT_ISA_H

#include "seen.h"

// VDIT_ISA_BEGIN("avx2,fma") … VDIT_ISA_END gives every function in between that target, so that one
// build holds kernels for every instruction set and no build flag is needed.
#define VDIT_PRAGMA(x) _Pragma(#x)
#define VDIT_ISA_BEGIN(features) \
    VDIT_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define VDIT_ISA_END VDIT_PRAGMA(clang attribute pop)

#define VDIT_TARGET_AVX2 "avx2,fma,f16c,bmi2"
#define VDIT_TARGET_AVX_VNNI VDIT_TARGET_AVX2 ",avxvnni"
#define VDIT_TARGET_AVX512 "avx2,fma,f16c,bmi2,avx512f,avx512bw,avx512dq,avx512vl"
#define VDIT_TARGET_AVX512_VNNI VDIT_TARGET_AVX512 ",avx512vnni"
#define VDIT_TARGET_AVX512_BF16 VDIT_TARGET_AVX512 ",avx512bf16"
#define VDIT_TARGET_AMX VDIT_TARGET_AVX512_BF16 ",amx-tile,amx-bf16"
#define VDIT_TARGET_AMX_INT8 VDIT_TARGET_AMX ",amx-int8,avx512vnni"

#define VDIT_INLINE static inline __attribute__((always_inline))
#define VDIT_RESTRICT restrict

#endif
