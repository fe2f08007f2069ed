#ifndef VDIT_INT8_QUANTISE_H
#define VDIT_INT8_QUANTISE_H

#include <math.h>
#include <string.h>

#include "../convert/bf16.h"
#include "../isa.h"

/// A row as whole numbers, each plus `offset`; returns its scale.
VDIT_INLINE float quantised(
    const int is_bf16, const void *x, int64_t columns, uint32_t offset, uint8_t *VDIT_RESTRICT to) {
#pragma clang fp contract(off)
    const uint16_t *VDIT_RESTRICT halves = x;
    const float *VDIT_RESTRICT floats = x;
    uint32_t most = 0;
    for (int64_t i = 0; i < columns; i++) {
        // Of magnitudes, bits are in the order of the values, and those of what is not finite are above all others.
        uint32_t bits = (is_bf16 ? (uint32_t)halves[i] << 16 : vdit_bits_of_f32(floats[i])) & 0x7fffffffu;
        most = bits > most ? bits : most;
    }
    const float largest = vdit_f32_of_bits(most);
    if (most >= 0x7f800000u || largest < 0x1p-100f) {
        memset(to, (int)offset, (size_t)columns);
        return most >= 0x7f800000u ? NAN : 0;
    }
    const float factor = 127.0f / largest;
    for (int64_t i = 0; i < columns; i++) {
        // Adding 1.5 · 2^23 rounds to a whole number and leaves it in the lowest bits.
        float scaled = (is_bf16 ? vdit_f32_of_bf16(halves[i]) : floats[i]) * factor;
        to[i] = (uint8_t)(vdit_bits_of_f32(scaled + 0x1.8p23f) + offset);
    }
    return largest / 127.0f;
}

#endif
