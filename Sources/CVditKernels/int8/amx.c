#if defined(__x86_64__)

#include <immintrin.h>

#include "../attention/exp2.h"
#include "int8.h"

VDIT_ISA_BEGIN(VDIT_TARGET_AMX_INT8)

#include "../fetch.h"
#include "../tiles.h"
#include "amx.h"
#include "linear.h"

VDIT_ISA_END

const vdit_int8_products vdit_int8_amx = {"amx-int8", quantise, scratch_bytes, linear};

#endif
