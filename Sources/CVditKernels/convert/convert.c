#include <string.h>

#include "../isa.h"
#include "bf16.h"
#include "f16.h"
#include "vdit_rows.h"

// Plain bit arithmetic: the compiler vectorises it, and conversions are bound by memory.

VDIT_INLINE uint16_t f32_to_f16(float value) {
    uint32_t bits = vdit_bits_of_f32(value), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
    uint32_t result;
    if (magnitude > 0x7f800000u) {
        result = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
    } else if (magnitude >= 0x477ff000u) {  // rounds past 65504
        result = 0x7c00u;
    } else if (magnitude < 0x38800000u) {  // subnormal half: let an fp32 addition round at the right place
        result = vdit_bits_of_f32(vdit_f32_of_bits(magnitude) + 0.5f) - vdit_bits_of_f32(0.5f);
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
    case PAIR(VDIT_BF16, VDIT_F32): LOOP(uint16_t, float, vdit_f32_of_bf16(x))
    case PAIR(VDIT_F32, VDIT_BF16): LOOP(float, uint16_t, vdit_bf16_of(x))
    case PAIR(VDIT_F16, VDIT_F32): LOOP(uint16_t, float, vdit_f32_of_f16(x))
    case PAIR(VDIT_F32, VDIT_F16): LOOP(float, uint16_t, f32_to_f16(x))
    case PAIR(VDIT_F16, VDIT_BF16): LOOP(uint16_t, uint16_t, vdit_bf16_of(vdit_f32_of_f16(x)))
    case PAIR(VDIT_BF16, VDIT_F16): LOOP(uint16_t, uint16_t, f32_to_f16(vdit_f32_of_bf16(x)))
    case PAIR(VDIT_F64, VDIT_F32): LOOP(double, float, x)
    case PAIR(VDIT_F32, VDIT_F64): LOOP(float, double, x)
    case PAIR(VDIT_BF16, VDIT_F64): LOOP(uint16_t, double, vdit_f32_of_bf16(x))
    case PAIR(VDIT_F16, VDIT_F64): LOOP(uint16_t, double, vdit_f32_of_f16(x))
    // By way of fp32: double rounding can move the last bit, as it does in PyTorch.
    case PAIR(VDIT_F64, VDIT_BF16): LOOP(double, uint16_t, vdit_bf16_of((float)x))
    case PAIR(VDIT_F64, VDIT_F16): LOOP(double, uint16_t, f32_to_f16((float)x))
    default: return;
    }
}

int vdit_all_finite(const void *x, vdit_float_type type, int64_t count) {
    uint32_t bad = 0;
    if (type == VDIT_F32) {
        const uint32_t *bits = x;
        for (int64_t i = 0; i < count; i++) bad |= (bits[i] & 0x7f800000u) == 0x7f800000u;
    } else {
        uint16_t exponent = type == VDIT_BF16 ? 0x7f80u : 0x7c00u;
        const uint16_t *bits = x;
        for (int64_t i = 0; i < count; i++) bad |= (bits[i] & exponent) == exponent;
    }
    return !bad;
}
