#ifndef VDIT_ROWS_H
#define VDIT_ROWS_H

#include <stdint.h>

typedef enum { VDIT_F32 = 0, VDIT_BF16 = 1, VDIT_F16 = 2, VDIT_F64 = 3 } vdit_float_type;

/// count floats of one type into another: exact widening, narrowing to nearest even (NaN stays NaN).
/// src and dst do not overlap. The result is the same on every instruction set.
void vdit_convert(const void *src, vdit_float_type src_type, void *dst, vdit_float_type dst_type, int64_t count);

#endif
