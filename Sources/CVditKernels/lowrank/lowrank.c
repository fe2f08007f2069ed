#include <string.h>

#include "../isa.h"
#include "../kernels.h"

#pragma clang diagnostic ignored "-Wpsabi"

typedef float v16 __attribute__((vector_size(64)));

#define VDIT_IMPL "lowrank/lowrank_impl.h"
#include "../instances.h"
