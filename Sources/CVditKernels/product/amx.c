#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "../attention/exp2.h"
#include "../isa.h"
#include "../kernels.h"
#include "../tile_pack.h"

VDIT_ISA_BEGIN(VDIT_TARGET_AMX)

#include "../fetch.h"
#include "../tiles.h"
#include "product_amx.h"

VDIT_ISA_END

const vdit_products vdit_products_amx = {"amx", packed_bytes, pack, multiply, scratch_bytes, linear};

#endif
