#ifndef VDIT_ATTENTION_H
#define VDIT_ATTENTION_H

#include <stdint.h>

#include "vdit_cpu.h"
#include "vdit_int8.h"
#include "vdit_rows.h"

/// Most query rows of a call.
#define VDIT_ATTEND_ROWS 128

/// A matrix of tokens in memory: row `order ? order[i] : first + i`, of which the first head_dim elements
/// are used, starts at data + row * stride elements.
typedef struct {
    const void *data;
    vdit_float_type type;  // VDIT_F32 or VDIT_BF16
    int64_t stride;
    const int32_t *order;
    int64_t first;
} vdit_token_rows;

/// The bias of a key that is not attended to: it weighs nothing beside one that is.
#define VDIT_HIDDEN (-1e30f)

/// Keys and values packed into panels, and what is added to the scaled score of packed key
/// panel * keys_per_panel + i, finite or VDIT_HIDDEN; bias is NULL for none.
typedef struct {
    const void *keys;
    const void *values;
    const float *bias;
    const float *mean;  // [head_dim], what the keys were packed less; NULL for nothing
} vdit_key_panels;

/// The first keys of some panels.
typedef struct {
    vdit_key_panels panels;
    int32_t count;  // of keys, >= 1
} vdit_key_span;

/// One query block of one head: out = softmax(scale * q kᵀ + bias) v over the keys of the listed blocks and those
/// of the rest.
typedef struct {
    vdit_token_rows q;
    int32_t rows;  // 1 ... VDIT_ATTEND_ROWS
    int32_t head_dim;
    float scale;  // of the scores, > 0
    // The head's keys. Block b holds block_keys[b + 1] - block_keys[b] >= 1 keys and starts at panel
    // block_panel[b]; what its last panel holds beyond them is ignored.
    vdit_key_panels panels;
    const int32_t *block_panel;
    const int32_t *block_keys;
    const int32_t *kept;  // block indices
    int32_t kept_count;
    // Keys that stand for the blocks not kept, in panels of their own, packed less the same mean; in each panel one is
    // not hidden. rest_count may be 0 where kept_count >= 1.
    const vdit_key_span *rest;
    int32_t rest_count;
    // Rows go to out + row * out_stride elements and lse + row, `row` as for q. out overlaps nothing.
    void *out;
    vdit_float_type out_type;  // VDIT_F32 or VDIT_BF16
    int64_t out_stride;
    float *lse;  // natural log of the softmax denominator; NULL if not wanted
    // masses[i] = softmax mass on the i-th kept block, mean over the rows, [kept_count]; and room for sums on the way
    // there, [rows][kept_count + 1], contents arbitrary. NULL if not wanted. The output is the same either way.
    float *masses;
    float *mass_sums;
} vdit_attend_call;

/// Attention with one operand type on one instruction set.
///
/// head_dim is a multiple of 8, 8 ... 256. Packed keys and packed values are panels of keys_per_panel keys, key_bytes
/// and value_bytes(head_dim) bytes each, 64-byte aligned; their layout is private to the kernel.
typedef struct vdit_attention {
    const char *name;
    int32_t keys_per_panel;
    /// Whether keys are to be packed less their mean over all tokens: they are rounded to a few bits.
    int smooths_keys;
    /// VDIT_BF16 where packing rounds keys, and values, to that first: rows of it pack to the same bytes as the rows of
    /// floats that were rounded to it. Else VDIT_F32.
    vdit_float_type key_type, value_type;
    int64_t (*key_bytes)(int32_t head_dim);
    int64_t (*value_bytes)(int32_t head_dim);
    /// What `attend` needs for calls of so many rows and such a head_dim.
    int64_t (*scratch_bytes)(const vdit_attend_call *calls, int32_t count);
    /// Packs `count` rows into ceil(count / keys_per_panel) panels, zeros beyond the last row. mean [head_dim] is
    /// subtracted from keys by a kernel that smooths them; NULL for nothing.
    void (*pack_keys)(
        const vdit_token_rows *rows, int64_t count, int32_t head_dim, const float *mean, void *panels);
    void (*pack_values)(const vdit_token_rows *rows, int64_t count, int32_t head_dim, void *panels);
    /// Does one or more calls of one head: of the same panels and head_dim. Each comes to the bytes it comes to alone;
    /// they take turns, so that keys which several of them keep, in ascending order, are fetched once.
    ///
    /// Writes only the rows named by q.order; reads no key outside the kept blocks. Accumulates in fp32. scratch is
    /// scratch_bytes(calls, count) bytes, 64-byte aligned, contents arbitrary.
    void (*attend)(const vdit_attend_call *calls, int32_t count, void *scratch);
} vdit_attention;

/// The kernel for an instruction set and an operand type (VDIT_F32 or VDIT_BF16). A set without a kernel of
/// its own has that of the set before it.
const vdit_attention *vdit_attention_kernel(vdit_isa isa, vdit_float_type operands);

/// The kernel of an instruction set whose scores are products of 8-bit whole numbers, the sums exact, and whose weights
/// and values are of the best type that it has.
const vdit_attention *vdit_attention_int8_kernel(vdit_isa isa);

/// Every one of those that this CPU can run, AMX with its tile instructions done by AVX-512 too: their number. For
/// tests.
int32_t vdit_attention_int8_all(const vdit_attention *all[VDIT_INT8_KERNELS]);

/// The AMX kernel with its tile instructions done by AVX-512, for tests on CPUs without AMX;
/// NULL where the CPU lacks AVX-512 BF16.
const vdit_attention *vdit_attention_amx_emulated(void);

#endif
