#ifndef COneDNN_H
#define COneDNN_H

#include "vdit_dnnl.h"
#include "vdit_dnnl_conv.h"
#include "vdit_dnnl_matmul.h"

#endif
