#if defined(__x86_64__)

// The AMX products with their tile instructions in AVX-512, so that tests on any such CPU run their logic.

#include <immintrin.h>
#include <string.h>

#include "../attention/exp2.h"
#include "../isa.h"
#include "../kernels.h"
#include "../tile_pack.h"

VDIT_ISA_BEGIN(VDIT_TARGET_AVX512_BF16)

#include "../fetch.h"
#include "../tiles_emulated.h"
#include "product_amx.h"

VDIT_ISA_END

const vdit_products vdit_products_amx_emulated = {
    "amx-emulated", packed_bytes, pack, multiply, scratch_bytes, linear,
};

#endif
