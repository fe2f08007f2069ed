#ifndef VDIT_TILE_PACK_H
#define VDIT_TILE_PACK_H

#include <stdint.h>
#include <string.h>

#include "isa.h"

// Matrices as tiles take them: [pair of column tiles][step][2] tiles of 1 KiB, a tile being 16 times four bytes of the
// depth × 16 columns, zeros beyond the matrix.

enum {
    LINE = 64,  // bytes: four of the depth of 16 columns
    TILE_BYTES = 1024,
    STEP_BYTES = 2 * TILE_BYTES,  // of a pair of column tiles
    DEPTH = 64,  // bytes of a step
    PAIR = 32,   // columns
};

VDIT_INLINE int64_t parts_of(int64_t extent, int64_t part) { return (extent + part - 1) / part; }

VDIT_INLINE int64_t tile_bytes(int64_t columns, int64_t depth_bytes) {
    return parts_of(columns, PAIR) * parts_of(depth_bytes, DEPTH) * STEP_BYTES;
}

typedef uint32_t vdit_words4 __attribute__((vector_size(16)));

/// 16 bytes of each of 16 columns, which are `bytes` apart, as four lines.
VDIT_INLINE void pack_lines(const char *columns, int64_t bytes, char *lines) {
    for (int column = 0; column < 16; column += 4, columns += 4 * bytes) {
        vdit_words4 a, b, c, d;
        memcpy(&a, columns, 16);
        memcpy(&b, columns + bytes, 16);
        memcpy(&c, columns + 2 * bytes, 16);
        memcpy(&d, columns + 3 * bytes, 16);
        const vdit_words4 low_ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
        const vdit_words4 high_ab = __builtin_shufflevector(a, b, 2, 6, 3, 7);
        const vdit_words4 low_cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
        const vdit_words4 high_cd = __builtin_shufflevector(c, d, 2, 6, 3, 7);
        const vdit_words4 turned[4] = {
            __builtin_shufflevector(low_ab, low_cd, 0, 1, 4, 5),
            __builtin_shufflevector(low_ab, low_cd, 2, 3, 6, 7),
            __builtin_shufflevector(high_ab, high_cd, 0, 1, 4, 5),
            __builtin_shufflevector(high_ab, high_cd, 2, 3, 6, 7),
        };
        for (int line = 0; line < 4; line++) memcpy(lines + line * LINE + 4 * column, &turned[line], 16);
    }
}

/// Columns first ..< first + count of a matrix whose tiles begin at `tiles`, 0 until then; each is depth_bytes at
/// `columns`, one after the other.
VDIT_INLINE void pack_columns(const void *columns, int64_t first, int64_t count, int64_t depth_bytes, void *tiles) {
    const int64_t steps = parts_of(depth_bytes, DEPTH), end = first + count;
    const char *from = columns;
    for (int64_t column = first; column < end;) {
        const int64_t left = end - column, to_edge = 16 - column % 16, width = left < to_edge ? left : to_edge;
        char *to = (char *)tiles + column / PAIR * steps * STEP_BYTES;
        to += column % PAIR / 16 * TILE_BYTES + column % 16 * 4;
        // A line of all columns at a time: lines are 64 bytes apart, and a column of them does not stay in cache.
        for (int64_t d = 0; d < depth_bytes; d += 4) {
            char *line = to + d / DEPTH * STEP_BYTES + d % DEPTH / 4 * LINE;
            if (width == 16 && depth_bytes - d >= 16) {
                pack_lines(from + d, depth_bytes, line);
                d += 12;
                continue;
            }
            if (depth_bytes - d >= 4) {
                for (int64_t c = 0; c < width; c++) memcpy(line + 4 * c, from + c * depth_bytes + d, 4);
            } else {
                for (int64_t c = 0; c < width; c++)
                    memcpy(line + 4 * c, from + c * depth_bytes + d, (size_t)(depth_bytes - d));
            }
        }
        from += width * depth_bytes;
        column += width;
    }
}

#endif
