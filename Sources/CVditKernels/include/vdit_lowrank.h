#ifndef VDIT_LOWRANK_H
#define VDIT_LOWRANK_H

#include <stdint.h>

#include "vdit_cpu.h"

/// w += factor · (up · down), the product summed over rank in ascending order with fused multiply-adds, then scaled
/// and added with a rounding each. Every instruction set gives the same bits.
///
/// w     [rows, columns] f32
/// up    [rows, rank] f32
/// down  [rank, columns] f32; overlaps w no more than up does
typedef void vdit_low_rank_add(float *w, const float *up, const float *down, int64_t rows, int64_t columns,
                               int64_t rank, float factor);

/// The kernel of an instruction set.
vdit_low_rank_add *vdit_add_low_rank_for(vdit_isa isa);

#endif
