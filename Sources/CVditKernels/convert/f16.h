#ifndef VDIT_F16_H
#define VDIT_F16_H

#include "bf16.h"

VDIT_INLINE float vdit_f32_of_f16(uint16_t value) {
    uint32_t sign = (uint32_t)(value & 0x8000u) << 16, magnitude = value & 0x7fffu;
    // A subnormal or normal half is its bits moved to fp32's place, times 2^112.
    float finite = vdit_f32_of_bits(magnitude << 13) * 0x1p112f;
    uint32_t bits = magnitude >= 0x7c00u ? (magnitude << 13) | 0x7f800000u : vdit_bits_of_f32(finite);
    return vdit_f32_of_bits(bits | sign);
}

#endif
