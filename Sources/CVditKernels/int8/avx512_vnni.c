#if defined(__x86_64__)

#include <immintrin.h>

#include "../attention/exp2.h"
#include "int8.h"

VDIT_ISA_BEGIN(VDIT_TARGET_AVX512_VNNI)

enum { LANES = 16, TALL = 6, TILES = 4 };  // 6 × 4 sums leave room for 4 lines and a broadcast

#include "../fetch.h"
#include "dot_avx512_vnni.h"
#include "broadcast.h"
#include "linear.h"

VDIT_ISA_END

const vdit_int8_products vdit_int8_avx512_vnni = {"avx512-vnni", quantise, scratch_bytes, linear};

#endif
