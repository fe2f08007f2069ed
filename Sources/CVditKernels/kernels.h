#ifndef VDIT_KERNELS_H
#define VDIT_KERNELS_H

#include "vdit_blocks.h"
#include "vdit_lowrank.h"
#include "vdit_peak.h"
#include "vdit_planning.h"
#include "vdit_product.h"
#include "vdit_rows.h"
#include "vdit_vae_rows.h"

// What each instruction set has; dispatch.c puts it in order.
extern const vdit_row_kernels vdit_rows_scalar;
extern const vdit_planning_kernels vdit_planning_scalar;
extern const vdit_vae_rows vdit_vae_rows_scalar;
vdit_low_rank_add vdit_add_low_rank_scalar;
vdit_q8_0_decode vdit_q8_0_decode_scalar;
#if defined(__x86_64__)
extern const vdit_row_kernels vdit_rows_avx2, vdit_rows_avx512;
extern const vdit_planning_kernels vdit_planning_avx2, vdit_planning_avx512;
extern const vdit_products vdit_products_amx, vdit_products_amx_emulated;
extern const vdit_vae_rows vdit_vae_rows_avx2, vdit_vae_rows_avx512;
vdit_low_rank_add vdit_add_low_rank_avx2, vdit_add_low_rank_avx512;
vdit_q8_0_decode vdit_q8_0_decode_avx2, vdit_q8_0_decode_avx512;
vdit_peak_loop vdit_peak_f32_avx2, vdit_peak_f32_avx512, vdit_peak_bf16_avx512, vdit_peak_bf16_amx;
vdit_peak_loop vdit_peak_int8_avx_vnni, vdit_peak_int8_avx512_vnni, vdit_peak_int8_amx;
#endif

#endif
