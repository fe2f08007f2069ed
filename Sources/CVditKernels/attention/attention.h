#ifndef VDIT_ATTENTION_KERNELS_H
#define VDIT_ATTENTION_KERNELS_H

#include <string.h>

#include "../isa.h"
#include "vdit_attention.h"

extern const vdit_attention vdit_attention_scalar, vdit_attention_int8_scalar;
#if defined(__x86_64__)
extern const vdit_attention vdit_attention_f32_avx2, vdit_attention_f32_avx512, vdit_attention_bf16_avx512;
extern const vdit_attention vdit_attention_bf16_amx, vdit_attention_bf16_amx_emulated;
extern const vdit_attention vdit_attention_int8_avx2, vdit_attention_int8_avx_vnni;
extern const vdit_attention vdit_attention_int8_amx, vdit_attention_int8_amx_emulated;
extern const vdit_attention vdit_attention_int8_avx512_vnni, vdit_attention_int8_avx512_bf16;
#endif

VDIT_INLINE int64_t row_of(const vdit_token_rows *rows, int64_t i) {
    return rows->order ? rows->order[i] : rows->first + i;
}

// Packed operands are stored as 32-bit units whatever they hold.
typedef float any_float __attribute__((may_alias));
typedef uint16_t any_bf16 __attribute__((may_alias));
typedef uint32_t any_bits __attribute__((may_alias));

/// Rounds to nearest even; NaN stays NaN.
VDIT_INLINE uint16_t rounded_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16, quiet = (bits >> 16) | 0x40u;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

/// A block of keys in the panels it lies in.
typedef struct {
    const vdit_key_panels *panels;
    int64_t panel;  // its first
    int32_t count;
} key_block;

/// Blocks a call attends to: those it lists, then the spans of the rest.
VDIT_INLINE int32_t block_count(const vdit_attend_call *call) { return call->kept_count + call->rest_count; }

VDIT_INLINE key_block block_at(const vdit_attend_call *call, int32_t i) {
    if (i >= call->kept_count) {
        const vdit_key_span *span = &call->rest[i - call->kept_count];
        return (key_block){&span->panels, 0, span->count};
    }
    int32_t block = call->kept[i];
    return (key_block){
        &call->panels, call->block_panel[block], call->block_keys[block + 1] - call->block_keys[block]};
}

/// The first `count` elements of row i as floats.
VDIT_INLINE void load_floats(const vdit_token_rows *rows, int64_t i, int32_t count, void *VDIT_RESTRICT to) {
    int64_t start = row_of(rows, i) * rows->stride;
    if (rows->type == VDIT_BF16) {
        const any_bf16 *from = (const any_bf16 *)rows->data + start;
        for (int32_t c = 0; c < count; c++) ((any_bits *)to)[c] = (uint32_t)from[c] << 16;
    } else {
        memcpy(to, (const any_float *)rows->data + start, (size_t)count * 4);
    }
}

/// The first `count` elements of row i as bf16.
VDIT_INLINE void load_bf16(const vdit_token_rows *rows, int64_t i, int32_t count, void *VDIT_RESTRICT to) {
    int64_t start = row_of(rows, i) * rows->stride;
    if (rows->type == VDIT_F32) {
        const any_float *from = (const any_float *)rows->data + start;
        for (int32_t c = 0; c < count; c++) ((any_bf16 *)to)[c] = rounded_bf16(from[c]);
    } else {
        memcpy(to, (const any_bf16 *)rows->data + start, (size_t)count * 2);
    }
}

#endif
