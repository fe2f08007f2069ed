#include <string.h>

#include "../isa.h"
#include "vdit_rows.h"

// Plain bit arithmetic: the compiler vectorises it, and conversions are bound by memory.

VDIT_INLINE float f32_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

VDIT_INLINE uint32_t bits_of_f32(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

VDIT_INLINE float bf16_to_f32(uint16_t value) { return f32_of_bits((uint32_t)value << 16); }

VDIT_INLINE uint16_t f32_to_bf16(float value) {
    uint32_t bits = bits_of_f32(value);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    uint32_t quiet = (bits >> 16) | 0x40u;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

VDIT_INLINE float f16_to_f32(uint16_t value) {
    uint32_t sign = (uint32_t)(value & 0x8000u) << 16, magnitude = value & 0x7fffu;
    // A subnormal or normal half is its bits moved to fp32's place, times 2^112.
    float finite = f32_of_bits(magnitude << 13) * 0x1p112f;
    uint32_t bits = magnitude >= 0x7c00u ? (magnitude << 13) | 0x7f800000u : bits_of_f32(finite);
    return f32_of_bits(bits | sign);
}

VDIT_INLINE uint16_t f32_to_f16(float value) {
    uint32_t bits = bits_of_f32(value), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
    uint32_t result;
    if (magnitude > 0x7f800000u) {
        result = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
    } else if (magnitude >= 0x477ff000u) {  // rounds past 65504
        result = 0x7c00u;
    } else if (magnitude < 0x38800000u) {  // subnormal half: let an fp32 addition round at the right place
        result = bits_of_f32(f32_of_bits(magnitude) + 0.5f) - bits_of_f32(0.5f);
    } else {
        result = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    }
    return (uint16_t)(result | sign);
}

#define LOOP(S, D, EXPRESSION)                            \
    {                                                     \
        const S *VDIT_RESTRICT s = src;                   \
        D *VDIT_RESTRICT d = dst;                         \
        for (int64_t i = 0; i < count; i++) {             \
            S x = s[i];                                   \
            d[i] = (D)(EXPRESSION);                       \
        }                                                 \
        return;                                           \
    }

#define PAIR(a, b) ((int)(a) * 4 + (int)(b))

void vdit_convert(const void *src, vdit_float_type src_type, void *dst, vdit_float_type dst_type, int64_t count) {
    static const int size[4] = {4, 2, 2, 8};
    if (src_type == dst_type) {
        memcpy(dst, src, (size_t)(count * size[src_type]));
        return;
    }
    switch (PAIR(src_type, dst_type)) {
    case PAIR(VDIT_BF16, VDIT_F32): LOOP(uint16_t, float, bf16_to_f32(x))
    case PAIR(VDIT_F32, VDIT_BF16): LOOP(float, uint16_t, f32_to_bf16(x))
    case PAIR(VDIT_F16, VDIT_F32): LOOP(uint16_t, float, f16_to_f32(x))
    case PAIR(VDIT_F32, VDIT_F16): LOOP(float, uint16_t, f32_to_f16(x))
    case PAIR(VDIT_F16, VDIT_BF16): LOOP(uint16_t, uint16_t, f32_to_bf16(f16_to_f32(x)))
    case PAIR(VDIT_BF16, VDIT_F16): LOOP(uint16_t, uint16_t, f32_to_f16(bf16_to_f32(x)))
    case PAIR(VDIT_F64, VDIT_F32): LOOP(double, float, x)
    case PAIR(VDIT_F32, VDIT_F64): LOOP(float, double, x)
    case PAIR(VDIT_BF16, VDIT_F64): LOOP(uint16_t, double, bf16_to_f32(x))
    case PAIR(VDIT_F16, VDIT_F64): LOOP(uint16_t, double, f16_to_f32(x))
    // By way of fp32: double rounding can move the last bit, as it does in PyTorch.
    case PAIR(VDIT_F64, VDIT_BF16): LOOP(double, uint16_t, f32_to_bf16((float)x))
    case PAIR(VDIT_F64, VDIT_F16): LOOP(double, uint16_t, f32_to_f16((float)x))
    default: return;
    }
}
