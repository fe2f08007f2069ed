#if defined(__x86_64__)

// The AMX products with their tile instructions in AVX-512, so that tests on any such CPU run their logic.

#include <immintrin.h>

#include "../attention/exp2.h"
#include "int8.h"

VDIT_ISA_BEGIN(VDIT_TARGET_AVX512_BF16)

#include "../fetch.h"
#include "../tiles_emulated.h"
#include "amx.h"
#include "linear.h"

VDIT_ISA_END

const vdit_int8_products vdit_int8_amx_emulated = {"amx-int8-emulated", quantise, scratch_bytes, linear};

#endif
