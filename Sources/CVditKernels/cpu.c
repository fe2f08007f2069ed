#define _GNU_SOURCE
#include "vdit_cpu.h"

#include <string.h>

static const char *const names[VDIT_ISA_COUNT] = {"scalar", "avx2", "avx512", "avx512-bf16", "amx"};

const char *vdit_isa_name(vdit_isa isa) {
    return (unsigned)isa < VDIT_ISA_COUNT ? names[isa] : NULL;
}

#if defined(__x86_64__)

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t saved_registers(void) {
    uint32_t a, b, c, d;
    __cpuid(1, a, b, c, d);
    if (!(c & (1u << 27))) return 0;  // OSXSAVE
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return ((uint64_t)d << 32) | a;
}

static int tile_data_granted(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    static int granted = -1;  // same answer whoever asks first, so a race is harmless
    if (granted < 0)
        granted = syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
    return granted;
}

int vdit_isa_supported(vdit_isa isa) {
    uint32_t a, b, c, d, b7 = 0, d7 = 0, a71 = 0, c1, max;
    __cpuid(0, max, b, c, d);
    __cpuid(1, a, b, c1, d);
    if (max >= 7) {
        __cpuid_count(7, 0, a, b7, c, d7);
        __cpuid_count(7, 1, a71, b, c, d);
    }
    uint64_t saved = saved_registers();
    int ymm = (saved & 0x6) == 0x6, zmm = (saved & 0xe6) == 0xe6, tiles = (saved & 0x60000) == 0x60000;
    // FMA 12, F16C 29; AVX2 5, BMI2 8
    int avx2 = ymm && (c1 & (1u << 12)) && (c1 & (1u << 29)) && (b7 & (1u << 5)) && (b7 & (1u << 8));
    // F 16, DQ 17, BW 30, VL 31
    uint32_t all512 = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);
    int avx512 = avx2 && zmm && (b7 & all512) == all512;
    int bf16 = avx512 && (a71 & (1u << 5));
    // AMX-BF16 22, AMX-TILE 24
    int amx = bf16 && tiles && (d7 & (1u << 22)) && (d7 & (1u << 24));
    switch (isa) {
    case VDIT_ISA_SCALAR: return 1;
    case VDIT_ISA_AVX2: return avx2;
    case VDIT_ISA_AVX512: return avx512;
    case VDIT_ISA_AVX512_BF16: return bf16;
    case VDIT_ISA_AMX: return amx && tile_data_granted();
    default: return 0;
    }
}

int vdit_cpu_has(vdit_cpu_extension extension) {
    uint32_t a, b, c = 0, d = 0, a71 = 0, max;
    __cpuid(0, max, b, c, d);
    if (max < 7) return 0;
    __cpuid_count(7, 1, a71, b, c, d);
    __cpuid_count(7, 0, a, b, c, d);
    switch (extension) {
    case VDIT_AVX_VNNI: return (a71 & (1u << 4)) != 0;
    case VDIT_AVX512_VNNI: return (c & (1u << 11)) != 0;
    case VDIT_AMX_INT8: return (d & (1u << 25)) != 0;
    default: return 0;
    }
}

void vdit_cpu_name(char *name, int64_t capacity) {
    uint32_t words[13] = {0}, a, b, c, d;
    if (capacity <= 0) return;
    __cpuid(0x80000000u, a, b, c, d);
    if (a >= 0x80000004u)
        for (uint32_t i = 0; i < 3; i++)
            __cpuid(0x80000002u + i, words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3]);
    strncpy(name, (const char *)words, (size_t)capacity - 1);
    name[capacity - 1] = 0;
}

#else

int vdit_isa_supported(vdit_isa isa) { return isa == VDIT_ISA_SCALAR; }

int vdit_cpu_has(vdit_cpu_extension extension) {
    (void)extension;
    return 0;
}

void vdit_cpu_name(char *name, int64_t capacity) {
    if (capacity > 0) name[0] = 0;
}

#endif
