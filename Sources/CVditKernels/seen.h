#ifndef VDIT_SEEN_H
#define VDIT_SEEN_H

// The thread sanitizer passes over accesses of more than 16 bytes, so it is told of them here: loads and stores of
// whole vectors, and memcpy, which may become one. Tiles in AMX registers stay unseen. Other builds have none of this.

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define VDIT_IS_SEEN 1
#endif
#endif

#ifdef VDIT_IS_SEEN
#include <stddef.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

void __tsan_read_range(const void *from, size_t bytes);
void __tsan_write_range(void *to, size_t bytes);

#define VDIT_READ(from, bytes) __tsan_read_range((from), (bytes))
#define VDIT_WRITE(to, bytes) __tsan_write_range((to), (bytes))

#define memcpy(to, from, bytes) (VDIT_READ(from, bytes), VDIT_WRITE(to, bytes), memcpy(to, from, bytes))

#define _mm256_load_ps(from) (VDIT_READ(from, 32), _mm256_load_ps(from))
#define _mm256_load_si256(from) (VDIT_READ(from, 32), _mm256_load_si256(from))
#define _mm256_loadu_si256(from) (VDIT_READ(from, 32), _mm256_loadu_si256(from))
#define _mm256_store_ps(to, x) (VDIT_WRITE(to, 32), _mm256_store_ps(to, x))
#define _mm256_storeu_ps(to, x) (VDIT_WRITE(to, 32), _mm256_storeu_ps(to, x))
#define _mm256_store_si256(to, x) (VDIT_WRITE(to, 32), _mm256_store_si256(to, x))
#define _mm256_storeu_si256(to, x) (VDIT_WRITE(to, 32), _mm256_storeu_si256(to, x))
#define _mm512_load_ps(from) (VDIT_READ(from, 64), _mm512_load_ps(from))
#define _mm512_loadu_ps(from) (VDIT_READ(from, 64), _mm512_loadu_ps(from))
#define _mm512_loadu_si512(from) (VDIT_READ(from, 64), _mm512_loadu_si512(from))
#define _mm512_store_ps(to, x) (VDIT_WRITE(to, 64), _mm512_store_ps(to, x))
#define _mm512_storeu_ps(to, x) (VDIT_WRITE(to, 64), _mm512_storeu_ps(to, x))
#define _mm512_store_si512(to, x) (VDIT_WRITE(to, 64), _mm512_store_si512(to, x))
#define _mm512_storeu_si512(to, x) (VDIT_WRITE(to, 64), _mm512_storeu_si512(to, x))

// Masks of the kernels are of the first lanes.
#define VDIT_LANES(mask) ((mask) ? 32u - (unsigned)__builtin_clz((unsigned)(mask)) : 0u)
#define _mm512_maskz_loadu_ps(mask, from) (VDIT_READ(from, VDIT_LANES(mask) * 4), _mm512_maskz_loadu_ps(mask, from))
#define _mm512_maskz_loadu_epi16(mask, from) \
    (VDIT_READ(from, VDIT_LANES(mask) * 2), _mm512_maskz_loadu_epi16(mask, from))
#define _mm512_mask_storeu_ps(to, mask, x) (VDIT_WRITE(to, VDIT_LANES(mask) * 4), _mm512_mask_storeu_ps(to, mask, x))
#define _mm256_mask_storeu_epi16(to, mask, x) \
    (VDIT_WRITE(to, VDIT_LANES(mask) * 2), _mm256_mask_storeu_epi16(to, mask, x))
#else
#define VDIT_READ(from, bytes) ((void)0)
#define VDIT_WRITE(to, bytes) ((void)0)
#endif

#endif
