// Included once per instruction set. NAME(x) names the copy.

VDIT_INLINE int64_t NAME(decode)(const int is_bf16, const char *blocks, int64_t count, char *values) {
    int64_t first = count;
    for (int64_t block = 0; block < count; block++, blocks += 34) {
        uint16_t bits;
        memcpy(&bits, blocks, 2);
        if ((bits & 0x7c00u) == 0x7c00u && first == count) first = block;
        const float scale = vdit_f32_of_f16(bits);
        for (int half = 0; half < 2; half++) {
            bytes16 whole;
            memcpy(&whole, blocks + 2 + 16 * half, 16);
            const floats16 products = __builtin_convertvector(whole, floats16) * scale;
            if (is_bf16) {
                // As vdit_bf16_of has it. What is no number is not used: the caller hears of it.
                words16 rounded;
                memcpy(&rounded, &products, 64);
                rounded = (rounded + 0x7fffu + ((rounded >> 16) & 1u)) >> 16;
                const halves16 narrow = __builtin_convertvector(rounded, halves16);
                memcpy(values + 32 * half, &narrow, 32);
            } else {
                memcpy(values + 64 * half, &products, 64);
            }
        }
        values += is_bf16 ? 64 : 128;
    }
    return first;
}

int64_t NAME(vdit_q8_0_decode)(const void *blocks, int64_t count, void *values, vdit_float_type type) {
    return type == VDIT_BF16 ? NAME(decode)(1, blocks, count, values) : NAME(decode)(0, blocks, count, values);
}
