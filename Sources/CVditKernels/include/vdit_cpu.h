#ifndef VDIT_CPU_H
#define VDIT_CPU_H

#include <stdint.h>

/// Instruction sets the kernels are written for, each including those before it.
typedef enum {
    VDIT_ISA_SCALAR = 0,
    VDIT_ISA_AVX2 = 1,         // AVX2, FMA, F16C
    VDIT_ISA_AVX512 = 2,       // AVX-512 F, BW, DQ, VL
    VDIT_ISA_AVX512_BF16 = 3,  // AVX-512 BF16
    VDIT_ISA_AMX = 4,          // AMX tiles, bf16
    VDIT_ISA_COUNT = 5
} vdit_isa;

/// "scalar", "avx2", "avx512", "avx512-bf16", "amx"; NULL outside the range.
const char *vdit_isa_name(vdit_isa isa);

/// Whether this CPU has the set and the operating system saves its registers. Asking for AMX asks the
/// kernel for permission to use tile data (once per process).
int vdit_isa_supported(vdit_isa isa);

/// Instructions for products of 8-bit numbers, which CPUs have or lack beside the sets.
typedef enum {
    VDIT_AVX_VNNI = 0,     // with AVX2
    VDIT_AVX512_VNNI = 1,  // with AVX-512
    VDIT_AMX_INT8 = 2      // with AMX
} vdit_cpu_extension;

/// Whether this CPU has them, whatever sets it has.
int vdit_cpu_has(vdit_cpu_extension extension);

/// The CPU's model name into `name` (always terminated), "" where it cannot be told.
void vdit_cpu_name(char *name, int64_t capacity);

#endif
