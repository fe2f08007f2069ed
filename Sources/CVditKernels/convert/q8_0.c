#include <string.h>

#include "../isa.h"
#include "../kernels.h"
#include "f16.h"

#pragma clang diagnostic ignored "-Wpsabi"

typedef int8_t bytes16 __attribute__((vector_size(16)));
typedef uint16_t halves16 __attribute__((vector_size(32)));
typedef uint32_t words16 __attribute__((vector_size(64)));
typedef float floats16 __attribute__((vector_size(64)));

#define VDIT_IMPL "convert/q8_0_impl.h"
#include "../instances.h"
