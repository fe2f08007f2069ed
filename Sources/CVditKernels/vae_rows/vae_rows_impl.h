// The row kernels in vectors of 16 floats, compiled once for each instruction set: the compiler splits a
// vector into what the set has. NAME(x) names the copy.

VDIT_INLINE v16 NAME(load)(const float *p, int64_t n) {
    if (n >= 16) {
        VDIT_READ(p, 64);
        return *(const v16u *)p;
    }
    v16 v = {0};
    memcpy(&v, p, (size_t)n * 4);
    return v;
}

VDIT_INLINE void NAME(store)(float *p, v16 v, int64_t n) {
    if (n >= 16) {
        VDIT_WRITE(p, 64);
        *(v16u *)p = v;
    } else {
        memcpy(p, &v, (size_t)n * 4);
    }
}

VDIT_INLINE v16 NAME(load_bf16)(const uint16_t *p, int64_t n) {
    h16 narrow = {0};
    if (n >= 16) {
        VDIT_READ(p, 32);
        narrow = *(const h16u *)p;
    } else {
        memcpy(&narrow, p, (size_t)n * 2);
    }
    return (v16)(__builtin_convertvector(narrow, u16) << 16);
}

VDIT_INLINE void NAME(store_bf16)(uint16_t *p, v16 v, int64_t n) {
    u16 bits = (u16)v;
    u16 rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    // All ones where v is not a number: rounding could turn one into infinity.
    u16 nan = (u16)(v != v);
    h16 narrow = __builtin_convertvector((rounded & ~nan) | (((bits >> 16) | 0x40u) & nan), h16);
    if (n >= 16) {
        VDIT_WRITE(p, 32);
        *(h16u *)p = narrow;
    } else {
        memcpy(p, &narrow, (size_t)n * 2);
    }
}

VDIT_INLINE float NAME(total)(v16 v) {
    float lanes[16];
    memcpy(lanes, &v, sizeof lanes);
    for (int half = 8; half >= 1; half /= 2)
        for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    return lanes[0];
}

/// exp to within 2 ulp: 2^n times a polynomial on [-ln2/2, ln2/2].
VDIT_INLINE v16 NAME(exp)(v16 x) {
    v16 low = (v16){0} - 87.3f, high = (v16){0} + 88.0f;
    x = __builtin_elementwise_max(low, __builtin_elementwise_min(high, x));
    v16 shifted = x * 1.44269504f + 12582912.0f;
    v16 n = shifted - 12582912.0f;
    v16 r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    v16 p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    u16 exponent = (((u16)shifted) << 23) + 0x3f800000u;
    return p * (v16)exponent;
}

VDIT_INLINE v16 NAME(load_as)(const void *p, vdit_float_type type, int64_t at, int64_t n) {
    return type == VDIT_BF16 ? NAME(load_bf16)((const uint16_t *)p + at, n) : NAME(load)((const float *)p + at, n);
}

VDIT_INLINE void NAME(store_as)(void *p, vdit_float_type type, int64_t at, v16 v, int64_t n) {
    if (type == VDIT_BF16) NAME(store_bf16)((uint16_t *)p + at, v, n);
    else NAME(store)((float *)p + at, v, n);
}

/// first + sign * second of up to 16 elements; a missing one counts as zeros.
VDIT_INLINE v16 NAME(combined)(
    const void *first, const void *second, float sign, vdit_float_type type, int64_t at, int64_t n) {
    v16 v = {0};
    if (first) v = NAME(load_as)(first, type, at, n);
    if (second) v += sign * NAME(load_as)(second, type, at, n);
    return v;
}

VDIT_INLINE void NAME(combine)(const void *first, const void *second, float sign, vdit_float_type from,
                               vdit_float_type to, int64_t count, void *out) {
    for (int64_t i = 0; i < count; i += 16)
        NAME(store_as)(out, to, i, NAME(combined)(first, second, sign, from, i, count - i), count - i);
}

/// A row of pixels of one or two frames, and where a tile lies in it.
typedef struct {
    const vdit_vae_gather *tile;
    const void *first, *second;  // of the row; NULL: zeros
} NAME(source_row);

/// Sixteen channels of the tile's column x.
VDIT_INLINE v16 NAME(column)(const NAME(source_row) *row, vdit_float_type from, int64_t x, int64_t c, int inside) {
    const vdit_vae_gather *g = row->tile;
    x += g->left;
    if (!inside && g->replicated) x = x < 0 ? 0 : x >= g->width ? g->width - 1 : x;
    if (!inside && (x < 0 || x >= g->width)) return (v16){0};
    return NAME(combined)(row->first, row->second, g->sign, from, x * g->channels + c, 16);
}

/// Pairs from ..< to of the four rows that F(2, 3) multiplies; a few at a time, whose lines stay in the first-level
/// cache. `inside` if all of their columns are.
VDIT_INLINE void NAME(gather_pairs)(
    const NAME(source_row) *row, vdit_float_type from_type, vdit_float_type to_type, int64_t from, int64_t to,
    const int inside, char *out) {
    const vdit_vae_gather *g = row->tile;
    const int64_t plane = g->plane * (to_type == VDIT_BF16 ? 2 : 4);
    for (int64_t start = from; start < to; start += 8) {
        const int64_t end = start + 8 < to ? start + 8 : to;
        for (int64_t c = 0; c < g->channels; c += 16) {
            v16 v0 = NAME(column)(row, from_type, 2 * start, c, inside);
            v16 v1 = NAME(column)(row, from_type, 2 * start + 1, c, inside);
            for (int64_t pair = start; pair < end; pair++) {
                const v16 v2 = NAME(column)(row, from_type, 2 * pair + 2, c, inside);
                const v16 v3 = NAME(column)(row, from_type, 2 * pair + 3, c, inside);
                const int64_t at = pair * g->channels + c;
                NAME(store_as)(out, to_type, at, v0 - v2, 16);
                NAME(store_as)(out + plane, to_type, at, v1 + v2, 16);
                NAME(store_as)(out + 2 * plane, to_type, at, v2 - v1, 16);
                NAME(store_as)(out + 3 * plane, to_type, at, v1 - v3, 16);
                v0 = v2;
                v1 = v3;
            }
        }
    }
}

VDIT_INLINE void NAME(gather_planes)(
    const NAME(source_row) *row, vdit_float_type from, vdit_float_type to, char *out) {
    const vdit_vae_gather *g = row->tile;
    // The pairs whose four columns are inside.
    int64_t first = g->left < 0 ? (1 - g->left) / 2 : 0, last = (g->width - g->left - 2) / 2;
    if (first > g->tile_width) first = g->tile_width;
    if (last > g->tile_width) last = g->tile_width;
    if (last < first) last = first;
    NAME(gather_pairs)(row, from, to, 0, first, 0, out);
    NAME(gather_pairs)(row, from, to, first, last, 1, out);
    NAME(gather_pairs)(row, from, to, last, g->tile_width, 0, out);
}

VDIT_INLINE void NAME(gather_columns)(
    const NAME(source_row) *row, vdit_float_type from, vdit_float_type to, char *out) {
    const vdit_vae_gather *g = row->tile;
    const int64_t size = to == VDIT_BF16 ? 2 : 4, pixel = g->channels * size;
    const int64_t start = g->left < 0 ? -g->left : 0;
    int64_t end = g->width - g->left;
    if (end > g->tile_width) end = g->tile_width;
    if (end <= start) {
        memset(out, 0, (size_t)(g->tile_width * pixel));
        return;
    }
    const int64_t offset = (g->left + start) * g->channels * (from == VDIT_BF16 ? 2 : 4);
    const int64_t count = (end - start) * g->channels;
    const char *first = row->first ? (const char *)row->first + offset : NULL;
    const char *second = row->second ? (const char *)row->second + offset : NULL;
    char *inside = out + start * pixel;
    memset(out, 0, (size_t)(start * pixel));
    if (!second && from == to) memcpy(inside, first, (size_t)(count * size));
    else NAME(combine)(first, second, g->sign, from, to, count, inside);
    memset(out + end * pixel, 0, (size_t)((g->tile_width - end) * pixel));
    if (!g->replicated) return;
    for (int64_t x = 0; x < start; x++) memcpy(out + x * pixel, inside, (size_t)pixel);
    for (int64_t x = end; x < g->tile_width; x++) memcpy(out + x * pixel, out + (end - 1) * pixel, (size_t)pixel);
}

static void NAME(gather)(const vdit_vae_gather *g, void *tile) {
    const int64_t from = g->from == VDIT_BF16 ? 2 : 4, to = g->to == VDIT_BF16 ? 2 : 4;
    const int64_t row_bytes = g->tile_width * g->channels * to;
    char *out = tile;
    for (int64_t row = 0; row < g->tile_height; row++, out += row_bytes) {
        int64_t y = g->top + row;
        if (g->replicated) y = y < 0 ? 0 : y >= g->height ? g->height - 1 : y;
        if (y < 0 || y >= g->height || !(g->first || g->second)) {
            for (int plane = 0; plane < (g->plane ? 4 : 1); plane++)
                memset(out + plane * g->plane * to, 0, (size_t)row_bytes);
            continue;
        }
        const int64_t offset = y * g->width * g->channels * from;
        const NAME(source_row) source = {g, g->first ? (const char *)g->first + offset : NULL,
                                         g->second ? (const char *)g->second + offset : NULL};
#define GATHER(from, to) \
    g->plane ? NAME(gather_planes)(&source, from, to, out) : NAME(gather_columns)(&source, from, to, out)
        if (g->from == VDIT_BF16) GATHER(VDIT_BF16, VDIT_BF16);
        else if (g->to == VDIT_BF16) GATHER(VDIT_F32, VDIT_BF16);
        else GATHER(VDIT_F32, VDIT_F32);
#undef GATHER
    }
}

/// The sum of a pixel's terms.
VDIT_INLINE v16 NAME(term_sum)(const vdit_vae_finish *f, int64_t at, int64_t n) {
    v16 v = NAME(load)(f->terms[0] + at, n);
    if (f->term_count == 3) v += f->sign * (NAME(load)(f->terms[1] + at, n) + NAME(load)(f->terms[2] + at, n));
    else if (f->term_count == 2) v += f->sign * NAME(load)(f->terms[1] + at, n);
    return v;
}

/// What is added to a pixel's sum of n channels from c on; keeps its value and adds to the squares.
VDIT_INLINE void NAME(finish_value)(
    const vdit_vae_finish *f, int64_t pixel, int64_t channels, int64_t c, int64_t n, v16 v, float *value,
    v16 *squares) {
    const int64_t to = pixel * f->pixel_stride + c;
    if (f->bias) v += NAME(load)(f->bias + c, n);
    if (f->noise) v += f->noise[pixel] * NAME(load)(f->noise_scale + c, n);
    if (f->residual) v += NAME(load)(f->residual + pixel * channels + c, n);
    if (f->relu) v = (v16)((__typeof__(v < 0))v & ~(v < 0));  // what is no number stays
    *squares += v * v;
    NAME(store)(value + c, v, n);
    if (f->stream) NAME(store_as)(f->stream, f->stream_type, to, v, n);
}

VDIT_INLINE void NAME(finish_operand)(
    const vdit_vae_finish *f, int64_t pixel, int64_t channels, const int whole, const float *value, v16 squares) {
    if (!f->operand) return;
    const float length = sqrtf(NAME(total)(squares));
    const float scale = f->epsilon > 0 ? 1.0f / sqrtf(NAME(total)(squares) / (float)channels + f->epsilon)
                                       : sqrtf((float)channels) / (length > 1e-12f ? length : 1e-12f);
    for (int64_t c = 0; c < channels; c += 16) {
        const int64_t n = whole ? 16 : channels - c;
        v16 v = NAME(load)(value + c, n);
        if (f->gamma) v = v * scale * NAME(load)(f->gamma + c, n);
        if (f->shift) v += NAME(load)(f->shift + c, n);
        if (f->silu) v = v / (1.0f + NAME(exp)(-v));
        NAME(store_as)(f->operand, f->operand_type, pixel * f->pixel_stride + c, v, n);
    }
}

/// `whole` if vectors are: the channels are a multiple of 16.
VDIT_INLINE void NAME(finish_row)(const vdit_vae_finish *f, int64_t pixels, int64_t channels, const int whole) {
    float *even = f->value, *odd = f->value + channels;
    for (int64_t pixel = 0; pixel < pixels; pixel += f->plane ? 2 : 1) {
        const int two = f->plane && pixel + 1 < pixels;
        const int64_t at = (f->plane ? pixel / 2 : pixel) * channels;
        v16 squares = {0}, odd_squares = {0};
        for (int64_t c = 0; c < channels; c += 16) {
            const int64_t n = whole ? 16 : channels - c;
            v16 v = NAME(term_sum)(f, at + c, n);
            if (f->plane) {
                const v16 sum = NAME(term_sum)(f, at + f->plane + c, n);
                const v16 difference = NAME(term_sum)(f, at + 2 * f->plane + c, n);
                v += sum + difference;
                if (two) {
                    const v16 last = NAME(term_sum)(f, at + 3 * f->plane + c, n);
                    NAME(finish_value)(f, pixel + 1, channels, c, n, sum - difference - last, odd, &odd_squares);
                }
            }
            NAME(finish_value)(f, pixel, channels, c, n, v, even, &squares);
        }
        NAME(finish_operand)(f, pixel, channels, whole, even, squares);
        if (two) NAME(finish_operand)(f, pixel + 1, channels, whole, odd, odd_squares);
    }
}

static void NAME(finish)(const vdit_vae_finish *f, int64_t pixels, int64_t channels) {
    if (channels % 16 == 0) NAME(finish_row)(f, pixels, channels, 1);
    else NAME(finish_row)(f, pixels, channels, 0);
}

static void NAME(softmax)(float *scores, int64_t count, float scale, void *probabilities, vdit_float_type type) {
    v16 highest = (v16){0} + scores[0];
    for (int64_t i = 0; i + 16 <= count; i += 16)
        highest = __builtin_elementwise_max(highest, NAME(load)(scores + i, 16));
    float most = scores[0];
    for (int lane = 0; lane < 16; lane++) most = highest[lane] > most ? highest[lane] : most;
    for (int64_t i = count & ~15ll; i < count; i++) most = scores[i] > most ? scores[i] : most;
    v16 sums = {0};
    for (int64_t i = 0; i < count; i += 16) {
        const int64_t n = count - i;
        v16 e = NAME(exp)((NAME(load)(scores + i, n) - most) * scale);
        NAME(store)(scores + i, e, n);
        sums += n >= 16 ? e : NAME(load)(scores + i, n);
    }
    const float inverse = 1.0f / NAME(total)(sums);
    for (int64_t i = 0; i < count; i += 16) {
        const int64_t n = count - i;
        v16 p = NAME(load)(scores + i, n) * inverse;
        NAME(store_as)(probabilities, type, i, p, n);
    }
}

static void NAME(moments)(const float *pixels, int64_t count, int64_t channels, double *sums) {
    for (int64_t c = 0; c < channels; c += 16) {
        const int64_t n = channels - c;
        d16 total = {0}, squares = {0};
        for (int64_t pixel = 0; pixel < count; pixel++) {
            const d16 v = __builtin_convertvector(NAME(load)(pixels + pixel * channels + c, n), d16);
            total += v;
            squares += v * v;
        }
        for (int64_t i = 0; i < 16 && i < n; i++) {
            sums[c + i] += total[i];
            sums[channels + c + i] += squares[i];
        }
    }
}

static void NAME(normalize)(const vdit_vae_normalize *f, int64_t count, int64_t channels) {
    for (int64_t pixel = 0; pixel < count; pixel++) {
        const int64_t at = pixel * channels;
        const float *guide = f->guide ? f->guide + pixel / f->pixels_per_guide * 2 * channels : NULL;
        for (int64_t c = 0; c < channels; c += 16) {
            const int64_t n = channels - c;
            v16 v = NAME(load)(f->pixels + at + c, n) * NAME(load)(f->scale + c, n) + NAME(load)(f->shift + c, n);
            if (guide) v = v * NAME(load)(guide + c, n) + NAME(load)(guide + channels + c, n);
            if (f->silu) v = v / (1.0f + NAME(exp)(-v));
            NAME(store_as)(f->operand, f->operand_type, at + c, v, n);
        }
    }
}

const vdit_vae_rows NAME(vdit_vae_rows) = {NAME(gather), NAME(finish), NAME(softmax), NAME(moments), NAME(normalize)};
