#ifndef VDIT_ATTENTION_EXP2_H
#define VDIT_ATTENTION_EXP2_H

// Minimax polynomials of 2^x on [-1/2, 1/2] by relative error: CONSTANT makes a vector, STEP(sum, c) is
// sum * x + c.

/// 7.5e-8: weights kept in fp32.
#define EXP2_FLOAT(CONSTANT, STEP) \
    STEP(STEP(STEP(STEP(STEP(CONSTANT(0x1.5c08e6p-10f), 0x1.3d0c52p-7f), 0x1.c6b6e4p-5f), 0x1.ebf918p-3f), 0x1.62e428p-1f), 0x1.000002p+0f)

/// 7.5e-5: weights rounded to bf16.
#define EXP2_BF16(CONSTANT, STEP) \
    STEP(STEP(STEP(CONSTANT(0x1.c3f760p-5f), 0x1.f0de1ap-3f), 0x1.62f31ap-1f), 0x1.fff692p-1f)

#endif
