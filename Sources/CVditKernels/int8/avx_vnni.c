#if defined(__x86_64__)

#include <immintrin.h>

#include "../attention/exp2.h"
#include "int8.h"

VDIT_ISA_BEGIN(VDIT_TARGET_AVX_VNNI)

enum { LANES = 8, TALL = 6, TILES = 1 };  // 6 × 2 sums leave room for 2 halves of a line and a broadcast

#include "../fetch.h"
#include "dot_avx_vnni.h"
#include "broadcast.h"
#include "linear.h"

VDIT_ISA_END

const vdit_int8_products vdit_int8_avx_vnni = {"avx-vnni", quantise, scratch_bytes, linear};

#endif
