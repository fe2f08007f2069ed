#include "../attention/attention.h"
#include "../kernels.h"
#include "int8.h"

// What multiplies bytes: instructions that CPUs have or lack beside the sets, so that a row is a set and one of them.
typedef struct {
    vdit_isa set;
    int extension;  // NONE, or a vdit_cpu_extension
    const vdit_int8_products *products;
    const vdit_attention *attention;
    vdit_peak_loop *peak;
} row;

enum { NONE = -1 };

// Best first; what a row lacks is that of the next one.
static const row rows[] = {
#if defined(__x86_64__)
    {VDIT_ISA_AMX, VDIT_AMX_INT8, &vdit_int8_amx, &vdit_attention_int8_amx, vdit_peak_int8_amx},
    {VDIT_ISA_AVX512_BF16, VDIT_AVX512_VNNI, NULL, &vdit_attention_int8_avx512_bf16, NULL},
    {VDIT_ISA_AVX512, VDIT_AVX512_VNNI, &vdit_int8_avx512_vnni, &vdit_attention_int8_avx512_vnni,
     vdit_peak_int8_avx512_vnni},
    {VDIT_ISA_AVX2, VDIT_AVX_VNNI, &vdit_int8_avx_vnni, &vdit_attention_int8_avx_vnni, vdit_peak_int8_avx_vnni},
    {VDIT_ISA_AVX2, NONE, &vdit_int8_avx2, &vdit_attention_int8_avx2, NULL},
#endif
    {VDIT_ISA_SCALAR, NONE, &vdit_int8_scalar, &vdit_attention_int8_scalar, NULL},
};

enum { ROWS = sizeof rows / sizeof rows[0] };

static int serves(const row *row, vdit_isa isa) {
    return isa >= row->set && (row->extension == NONE || vdit_cpu_has((vdit_cpu_extension)row->extension));
}

#define RETURN_BEST(isa, kernel)                                                \
    do {                                                                        \
        for (int i = 0; i < ROWS; i++)                                          \
            if (rows[i].kernel && serves(&rows[i], isa)) return rows[i].kernel; \
        return NULL;                                                            \
    } while (0)

const vdit_int8_products *vdit_int8_products_for(vdit_isa isa) { RETURN_BEST(isa, products); }

const vdit_attention *vdit_attention_int8_kernel(vdit_isa isa) { RETURN_BEST(isa, attention); }

vdit_peak_loop *vdit_peak_multiply_add_int8(vdit_isa isa) { RETURN_BEST(isa, peak); }

static int runs(const row *row) { return vdit_isa_supported(row->set) && serves(row, row->set); }

int32_t vdit_int8_products_all(const vdit_int8_products *all[VDIT_INT8_KERNELS]) {
    int32_t count = 0;
    for (int i = 0; i < ROWS; i++)
        if (rows[i].products && runs(&rows[i])) all[count++] = rows[i].products;
#if defined(__x86_64__)
    if (vdit_isa_supported(VDIT_ISA_AVX512_BF16)) all[count++] = &vdit_int8_amx_emulated;
#endif
    return count;
}

int32_t vdit_attention_int8_all(const vdit_attention *all[VDIT_INT8_KERNELS]) {
    int32_t count = 0;
    for (int i = 0; i < ROWS; i++)
        if (rows[i].attention && runs(&rows[i])) all[count++] = rows[i].attention;
#if defined(__x86_64__)
    if (vdit_isa_supported(VDIT_ISA_AVX512_BF16) && vdit_cpu_has(VDIT_AVX512_VNNI))
        all[count++] = &vdit_attention_int8_amx_emulated;
#endif
    return count;
}
