#if defined(__x86_64__)

#include <immintrin.h>

#include "../attention/exp2.h"
#include "int8.h"

VDIT_ISA_BEGIN(VDIT_TARGET_AVX2)

enum { LANES = 8, TALL = 4, TILES = 1 };  // 4 × 2 sums leave room for lines and broadcasts split in two

#include "../fetch.h"
#include "dot_avx2.h"
#include "broadcast.h"
#include "linear.h"

VDIT_ISA_END

const vdit_int8_products vdit_int8_avx2 = {"avx2", quantise, scratch_bytes, linear};

#endif
