#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>

#include "../int8/quantise.h"
#include "attention.h"
#include "exp2.h"

#define ELEMENTS 2
#define PANEL 32
#define SCORE_DEPTH 64
#define QUERY_OFFSET 0
#define CHUNK_PANELS 8
#define GROUP_PANELS 2
#define EXP2_POLYNOMIAL EXP2_BF16

VDIT_ISA_BEGIN(VDIT_TARGET_AMX_INT8)

#include "vec_avx512.h"
#include "tile_weights.h"
#include "pack.h"
#include "../int8/dot_avx512_vnni.h"
#include "scores_int8.h"
#include "../fetch.h"
#include "chunk.h"

#include "../tiles.h"
#include "score_tiles_int8.h"
#include "attend_amx.h"
#include "calls.h"

VDIT_ISA_END

const vdit_attention vdit_attention_int8_amx = {
    "int8 amx, bf16", PANEL, 1, VDIT_F32, VALUE_TYPE,
    key_bytes, value_bytes, scratch_bytes, pack_keys, pack_values, attend,
};

#endif
