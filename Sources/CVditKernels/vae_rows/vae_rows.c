#include <math.h>
#include <string.h>

#include "../isa.h"
#include "../kernels.h"

// The helpers that take and return vectors are always inlined: no call has an ABI to change.
#pragma clang diagnostic ignored "-Wpsabi"

typedef float v16 __attribute__((vector_size(64)));
typedef float v16u __attribute__((vector_size(64), aligned(4)));
typedef double d16 __attribute__((vector_size(128)));
typedef uint32_t u16 __attribute__((vector_size(64)));
typedef uint16_t h16 __attribute__((vector_size(32)));
typedef uint16_t h16u __attribute__((vector_size(32), aligned(2)));

#define VDIT_IMPL "vae_rows/vae_rows_impl.h"
#include "../instances.h"
