#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>

#include "attention.h"
#include "exp2.h"

#define ELEMENTS 1
#define PANEL 16
#define DEPTH 8
#define CHUNK_PANELS 8
#define EXP2_POLYNOMIAL EXP2_FLOAT

VDIT_ISA_BEGIN(VDIT_TARGET_AVX2)

#include "vec_avx2.h"
#include "pack.h"
#include "scores_float.h"
#include "../fetch.h"
#include "chunk.h"
#include "attend.h"
#include "calls.h"

VDIT_ISA_END

const vdit_attention vdit_attention_f32_avx2 = {
    "avx2", PANEL, 0, VALUE_TYPE, VALUE_TYPE,
    key_bytes, value_bytes, scratch_bytes, pack_keys, pack_values, attend,
};

#endif
