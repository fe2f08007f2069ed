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

VDIT_INLINE void NAME(combine)(const void *first, const void *second, float sign, int narrow_in, int narrow_out,
                               int64_t count, void *out) {
    for (int64_t i = 0; i < count; i += 16) {
        int64_t n = count - i;
        v16 v = {0};
        if (first) v = narrow_in ? NAME(load_bf16)((const uint16_t *)first + i, n) : NAME(load)((const float *)first + i, n);
        if (second)
            v += sign * (narrow_in ? NAME(load_bf16)((const uint16_t *)second + i, n)
                                   : NAME(load)((const float *)second + i, n));
        if (narrow_out) NAME(store_bf16)((uint16_t *)out + i, v, n);
        else NAME(store)((float *)out + i, v, n);
    }
}

static void NAME(gather)(const vdit_vae_gather *g, void *tile) {
    const int64_t from = g->from == VDIT_BF16 ? 2 : 4, to = g->to == VDIT_BF16 ? 2 : 4;
    const int64_t row_bytes = g->tile_width * g->channels * to;
    const int64_t start = g->left < 0 ? -g->left : 0;
    int64_t end = g->width - g->left;
    if (end > g->tile_width) end = g->tile_width;
    char *out = tile;
    for (int64_t row = 0; row < g->tile_height; row++, out += row_bytes) {
        int64_t y = g->top + row;
        if (g->replicated) y = y < 0 ? 0 : y >= g->height ? g->height - 1 : y;
        if (y < 0 || y >= g->height || end <= start || !(g->first || g->second)) {
            memset(out, 0, (size_t)row_bytes);
            continue;
        }
        const int64_t offset = (y * g->width + g->left + start) * g->channels * from;
        const int64_t count = (end - start) * g->channels;
        const char *first = g->first ? (const char *)g->first + offset : NULL;
        const char *second = g->second ? (const char *)g->second + offset : NULL;
        char *inside = out + start * g->channels * to;
        memset(out, 0, (size_t)(start * g->channels * to));
        if (!second && g->from == g->to) memcpy(inside, first, (size_t)(count * to));
        else if (g->from == VDIT_BF16) NAME(combine)(first, second, g->sign, 1, 1, count, inside);
        else if (g->to == VDIT_BF16) NAME(combine)(first, second, g->sign, 0, 1, count, inside);
        else NAME(combine)(first, second, g->sign, 0, 0, count, inside);
        memset(out + end * g->channels * to, 0, (size_t)((g->tile_width - end) * g->channels * to));
        if (!g->replicated) continue;
        const int64_t pixel = g->channels * to;
        for (int64_t x = 0; x < start; x++) memcpy(out + x * pixel, inside, (size_t)pixel);
        for (int64_t x = end; x < g->tile_width; x++) memcpy(out + x * pixel, out + (end - 1) * pixel, (size_t)pixel);
    }
}

static void NAME(finish)(const vdit_vae_finish *f, int64_t pixels, int64_t channels) {
    const float root = sqrtf((float)channels);
    for (int64_t pixel = 0; pixel < pixels; pixel++) {
        const int64_t at = pixel * channels, to = pixel * f->pixel_stride;
        v16 squares = {0};
        for (int64_t c = 0; c < channels; c += 16) {
            const int64_t n = channels - c;
            v16 v = NAME(load)(f->terms[0] + at + c, n);
            if (f->term_count == 3)
                v += f->sign * (NAME(load)(f->terms[1] + at + c, n) + NAME(load)(f->terms[2] + at + c, n));
            else if (f->term_count == 2)
                v += f->sign * NAME(load)(f->terms[1] + at + c, n);
            if (f->bias) v += NAME(load)(f->bias + c, n);
            if (f->noise) v += f->noise[pixel] * NAME(load)(f->noise_scale + c, n);
            if (f->residual) v += NAME(load)(f->residual + at + c, n);
            squares += v * v;
            NAME(store)(f->value + at + c, v, n);
            if (f->stream && f->stream_type == VDIT_BF16) NAME(store_bf16)((uint16_t *)f->stream + to + c, v, n);
            else if (f->stream) NAME(store)((float *)f->stream + to + c, v, n);
        }
        if (!f->operand) continue;
        const float length = sqrtf(NAME(total)(squares));
        const float scale = f->epsilon > 0 ? 1.0f / sqrtf(NAME(total)(squares) / (float)channels + f->epsilon)
                                           : root / (length > 1e-12f ? length : 1e-12f);
        for (int64_t c = 0; c < channels; c += 16) {
            const int64_t n = channels - c;
            v16 v = NAME(load)(f->value + at + c, n);
            if (f->gamma) v = v * scale * NAME(load)(f->gamma + c, n);
            if (f->shift) v += NAME(load)(f->shift + c, n);
            if (f->silu) v = v / (1.0f + NAME(exp)(-v));
            if (f->operand_type == VDIT_BF16) NAME(store_bf16)((uint16_t *)f->operand + to + c, v, n);
            else NAME(store)((float *)f->operand + to + c, v, n);
        }
    }
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
        if (type == VDIT_BF16) NAME(store_bf16)((uint16_t *)probabilities + i, p, n);
        else NAME(store)((float *)probabilities + i, p, n);
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
            if (f->operand_type == VDIT_BF16) NAME(store_bf16)((uint16_t *)f->operand + at + c, v, n);
            else NAME(store)((float *)f->operand + at + c, v, n);
        }
    }
}

const vdit_vae_rows NAME(vdit_vae_rows) = {NAME(gather), NAME(finish), NAME(softmax), NAME(moments), NAME(normalize)};
