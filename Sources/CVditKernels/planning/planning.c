#include <math.h>

#include "../convert/bf16.h"
#include "../isa.h"
#include "../kernels.h"

enum { LANES = 16, WIDE = 64, NARROW = 8 };

#define VDIT_IMPL "planning/planning_impl.h"
#include "../instances.h"
