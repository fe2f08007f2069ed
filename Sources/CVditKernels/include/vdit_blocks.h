#ifndef VDIT_BLOCKS_H
#define VDIT_BLOCKS_H

#include <stdint.h>

#include "vdit_cpu.h"
#include "vdit_rows.h"

/// Values of Q8_0 blocks: 34 bytes each, an fp16 scale and the 32 whole numbers that it multiplies.
///
/// values   [32 · count] f32, each product rounded once, or bf16, that product rounded to nearest even once more
/// Promises the same bits on every instruction set; writes all values, of scales that are no numbers too. Returns the
///          first block whose scale is not finite, `count` where there is none.
typedef int64_t vdit_q8_0_decode(const void *blocks, int64_t count, void *values, vdit_float_type type);

/// The kernel of an instruction set.
vdit_q8_0_decode *vdit_q8_0_decode_for(vdit_isa isa);

#endif
