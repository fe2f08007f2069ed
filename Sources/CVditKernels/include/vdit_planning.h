#ifndef VDIT_PLANNING_H
#define VDIT_PLANNING_H

#include <stdint.h>

#include "vdit_cpu.h"
#include "vdit_rows.h"

/// What planners of sparse attention do with tokens: pooling, clustering, and correcting outputs. Inputs
/// marked "f32 or bf16" are of type `type`; nothing overlaps its output; sums run in index order per column,
/// so a result depends on the arguments and the instruction set alone.
typedef struct {
    /// means[b] = mean of the rows order[offsets[b]] … order[offsets[b + 1] - 1] of x.
    /// x [rows, columns] f32 or bf16; order, or NULL for the identity; offsets [blocks + 1], ascending,
    /// no block empty; means [blocks, columns].
    void (*block_means)(const void *x, vdit_float_type type, int64_t columns, const int32_t *order,
                        const int32_t *offsets, int64_t blocks, float *means);

    /// sums[c] = sum of the rows of x whose label is c, sizes[c] their number.
    /// x [rows, columns] f32 or bf16; labels [rows] in 0 ..< clusters; sums [clusters, columns].
    void (*cluster_sums)(const void *x, vdit_float_type type, int64_t rows, int64_t columns,
                         const int32_t *labels, int64_t clusters, float *sums, int32_t *sizes);

    /// at[r] = lowest index of the largest of scores[r]; 0 where no score is greater than -inf.
    /// scores [rows, columns].
    void (*row_argmax)(const float *scores, int64_t rows, int64_t columns, int32_t *at);

    /// scores[r][j] = weight[j] · exp(scale · scores[r][j] - max) / sum, the maximum over the row.
    /// weight [columns], or NULL for 1; the sum, in double, is taken as at least 1e-12.
    void (*softmax_rows)(float *scores, int64_t rows, int64_t columns, float scale, const float *weight);

    /// residual[t][h] = full[t][h] - ratio[h][t] · sparse[t][h], over tokens first ..< last.
    /// full, sparse [tokens, heads, head_dim] f32; residual the same, f32 or bf16; ratio [heads, tokens].
    void (*residual)(const float *full, const float *sparse, const float *ratio, int64_t first, int64_t last,
                     int64_t tokens, int64_t heads, int64_t head_dim, void *residual, vdit_float_type type);

    /// values[t][h] = ratio[h][t] · values[t][h] + residual[t][h], shapes as above.
    void (*rescale)(float *values, const float *ratio, const void *residual, vdit_float_type type,
                    int64_t first, int64_t last, int64_t tokens, int64_t heads, int64_t head_dim);

    /// values[order[i]] += part · x for i in first ..< last, the same bits with every instruction set.
    /// values [rows, columns] f32; x [columns] f32 or bf16; order, or NULL for the identity.
    void (*add_to_rows)(float *values, int64_t columns, const int32_t *order, int64_t first, int64_t last,
                        float part, const void *x, vdit_float_type type);
} vdit_planning_kernels;

/// The kernels of an instruction set, or of the best one before it that has any.
const vdit_planning_kernels *vdit_planning_kernels_for(vdit_isa isa);

#endif
