#ifndef VDIT_PEAK_H
#define VDIT_PEAK_H

#include <stdint.h>

#include "vdit_cpu.h"
#include "vdit_rows.h"

/// Runs `rounds` of independent multiply-adds of numbers that stay in registers (tiles for bf16 on AMX), as fast as the
/// core can. Returns the operations done (a multiply-add is two).
typedef double vdit_peak_loop(int64_t rounds);

/// The loop over VDIT_F32 or VDIT_BF16 multiply-adds; NULL where the set has no such instruction.
vdit_peak_loop *vdit_peak_multiply_add(vdit_isa isa, vdit_float_type type);

/// The same over multiply-adds of bytes; NULL where the CPU has no instruction for four of them.
vdit_peak_loop *vdit_peak_multiply_add_int8(vdit_isa isa);

/// Reads `bytes` (a multiple of 512) once from memory, in order. The result depends on every byte.
uint64_t vdit_peak_read(const void *data, int64_t bytes);

#endif
