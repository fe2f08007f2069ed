#include <math.h>

#include "../convert/bf16.h"
#include "../isa.h"
#include "../kernels.h"

enum { BLOCK = 256 };  // head_dim is at most 256

#define VDIT_IMPL "rows/rows_impl.h"
#include "../instances.h"
