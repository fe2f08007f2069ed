#ifndef VDIT_BF16_H
#define VDIT_BF16_H

#include <stdint.h>
#include <string.h>

#include "../isa.h"

VDIT_INLINE float vdit_f32_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

VDIT_INLINE uint32_t vdit_bits_of_f32(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

VDIT_INLINE float vdit_f32_of_bf16(uint16_t value) { return vdit_f32_of_bits((uint32_t)value << 16); }

VDIT_INLINE uint16_t vdit_bf16_of(float value) {
    uint32_t bits = vdit_bits_of_f32(value);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    uint32_t quiet = (bits >> 16) | 0x40u;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

#endif
