#ifndef VDIT_DNNL_H
#define VDIT_DNNL_H

#include <stdint.h>

// oneDNN behind the few calls vdit makes, the same for its 2.x and 3.x C interfaces.
// Every primitive runs on the calling thread only: vdit's own pool is the one pool of the process.
// Functions return 0, or oneDNN's status.

typedef enum { VDIT_DNNL_F32 = 0, VDIT_DNNL_BF16 = 1 } vdit_dnnl_type;

/// Makes oneDNN run on the calling thread alone. Call it on every thread that runs primitives, first.
void vdit_dnnl_serial(void);

/// Holds oneDNN's generated code to an instruction set: 0 SSE4.1, 1 AVX2, 2 AVX-512, 3 AVX-512 BF16, 4 AMX.
/// Has an effect only before the first primitive is made.
void vdit_dnnl_limit(int instruction_set);

/// "2.6.3" into text (always terminated).
void vdit_dnnl_version(char *text, int64_t capacity);

#endif
