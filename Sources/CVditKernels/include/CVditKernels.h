#ifndef CVDIT_KERNELS_H
#define CVDIT_KERNELS_H

#include "vdit_attention.h"
#include "vdit_blocks.h"
#include "vdit_commit.h"
#include "vdit_cpu.h"
#include "vdit_int8.h"
#include "vdit_planning.h"
#include "vdit_product.h"
#include "vdit_lowrank.h"
#include "vdit_peak.h"
#include "vdit_rows.h"
#include "vdit_threads.h"
#include "vdit_vae_rows.h"

#endif
