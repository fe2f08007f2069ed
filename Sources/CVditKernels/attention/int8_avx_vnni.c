#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>

#include "../int8/quantise.h"
#include "attention.h"
#include "exp2.h"

#define ELEMENTS 1
#define PANEL 16
#define SCORE_DEPTH 4
#define QUERY_OFFSET 128
#define CHUNK_PANELS 8
#define EXP2_POLYNOMIAL EXP2_FLOAT

VDIT_ISA_BEGIN(VDIT_TARGET_AVX_VNNI)

#include "vec_avx2.h"
#include "pack.h"
#include "../int8/dot_avx_vnni.h"
#include "scores_int8.h"
#include "../fetch.h"
#include "chunk.h"
#include "attend.h"
#include "calls.h"

VDIT_ISA_END

const vdit_attention vdit_attention_int8_avx_vnni = {
    "int8 avx-vnni", PANEL, 1, VDIT_F32, VALUE_TYPE,
    key_bytes, value_bytes, scratch_bytes, pack_keys, pack_values, attend,
};

#endif
