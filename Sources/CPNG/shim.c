#include "CPNG.h"

#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// libpng reports errors by longjmp. It starts and ends in this file: no frame of Swift is ever skipped.

static void fail(png_structp png, png_const_charp text) {
    vdit_png_failure *failure = png_get_error_ptr(png);
    failure->code = errno;
    snprintf(failure->text, sizeof failure->text, "%s", text);
    png_longjmp(png, 1);
}

static void ignore(png_structp png, png_const_charp text) {
    (void)png;
    (void)text;
}

static int system_failure(vdit_png_failure *failure) {
    failure->code = errno;
    snprintf(failure->text, sizeof failure->text, "%s", strerror(errno));
    return -1;
}

static int is_ascii(const char *text) {
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80) return 0;
    return 1;
}

static int write_rows(FILE *file, uint32_t width, uint32_t height, int channels, int depth,
                      const uint8_t *samples, png_text *chunks, int text_count,
                      vdit_png_failure *failure) {
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, failure, fail, ignore);
    if (!png) return system_failure(failure);
    png_infop info = png_create_info_struct(png);
    if (!info || setjmp(png_jmpbuf(png))) {
        png_destroy_write_struct(&png, &info);
        return -1;
    }
    png_init_io(png, file);
    png_set_IHDR(png, info, width, height, depth, channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_sRGB(png, info, PNG_sRGB_INTENT_PERCEPTUAL);
    errno = 0;
    if (text_count) png_set_text(png, info, chunks, text_count);
    png_write_info(png, info);
    if (depth == 16 && *(const uint8_t *)&(const uint16_t){1}) png_set_swap(png);
    size_t stride = (size_t)width * channels * (depth / 8);
    for (uint32_t row = 0; row < height; row++) {
        errno = 0;
        png_write_row(png, samples + row * stride);
    }
    errno = 0;
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    return 0;
}

int vdit_png_write(const char *path, uint32_t width, uint32_t height, int channels, int depth,
                   const uint8_t *samples, const vdit_png_text *texts, int text_count,
                   vdit_png_failure *failure) {
    memset(failure, 0, sizeof *failure);
    png_text *chunks = calloc((size_t)text_count + 1, sizeof *chunks);
    if (!chunks) return system_failure(failure);
    for (int i = 0; i < text_count; i++) {
        chunks[i].compression =
            is_ascii(texts[i].value) ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
        chunks[i].key = (char *)texts[i].key;
        chunks[i].text = (char *)texts[i].value;
    }
    FILE *file = fopen(path, "wbe");
    if (!file) {
        free(chunks);
        return system_failure(failure);
    }
    int status = write_rows(file, width, height, channels, depth, samples, chunks, text_count, failure);
    free(chunks);
    if (fclose(file) != 0 && status == 0) status = system_failure(failure);
    return status;
}

static int copy_texts(png_structp png, png_infop info, vdit_png_picture *picture) {
    png_textp chunks = NULL;
    int count = png_get_text(png, info, &chunks, NULL);
    if (count <= 0) return 0;
    picture->texts = calloc((size_t)count, sizeof *picture->texts);
    if (!picture->texts) return -1;
    for (int i = 0; i < count; i++) {
        char *key = strdup(chunks[i].key ? chunks[i].key : "");
        char *value = strdup(chunks[i].text ? chunks[i].text : "");
        picture->texts[i].key = key;
        picture->texts[i].value = value;
        picture->text_count = i + 1;
        if (!key || !value) return -1;
    }
    return 0;
}

static int read_rows(FILE *file, size_t byte_limit, vdit_png_picture *picture, vdit_png_failure *failure) {
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, failure, fail, ignore);
    if (!png) return system_failure(failure);
    png_infop info = png_create_info_struct(png);
    if (!info || setjmp(png_jmpbuf(png))) {
        png_destroy_read_struct(&png, &info, NULL);
        return -1;
    }
    png_init_io(png, file);
    errno = 0;
    png_read_info(png, info);
    picture->has_alpha = (png_get_color_type(png, info) & PNG_COLOR_MASK_ALPHA) != 0 ||
                         png_get_valid(png, info, PNG_INFO_tRNS) != 0;
    png_set_expand(png);
    png_set_strip_alpha(png);
    if (*(const uint8_t *)&(const uint16_t){1}) png_set_swap(png);
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    picture->width = png_get_image_width(png, info);
    picture->height = png_get_image_height(png, info);
    picture->channels = png_get_channels(png, info);
    picture->depth = png_get_bit_depth(png, info);
    errno = 0;
    size_t stride = png_get_rowbytes(png, info);
    if (stride == 0 || picture->height > byte_limit / stride) png_error(png, "picture too large");
    picture->samples = malloc(stride * picture->height);
    if (!picture->samples) png_error(png, "out of memory");
    for (int pass = 0; pass < passes; pass++)
        for (uint32_t row = 0; row < picture->height; row++) {
            errno = 0;
            png_read_row(png, picture->samples + row * stride, NULL);
        }
    errno = 0;
    png_read_end(png, info);
    if (copy_texts(png, info, picture) != 0) png_error(png, "out of memory");
    png_destroy_read_struct(&png, &info, NULL);
    return 0;
}

int vdit_png_read(const char *path, size_t byte_limit, vdit_png_picture *picture,
                  vdit_png_failure *failure) {
    memset(failure, 0, sizeof *failure);
    memset(picture, 0, sizeof *picture);
    FILE *file = fopen(path, "rbe");
    if (!file) return system_failure(failure);
    int status = read_rows(file, byte_limit, picture, failure);
    fclose(file);
    if (status != 0) vdit_png_free(picture);
    return status;
}

void vdit_png_free(vdit_png_picture *picture) {
    for (int i = 0; i < picture->text_count; i++) {
        free((char *)picture->texts[i].key);
        free((char *)picture->texts[i].value);
    }
    free(picture->texts);
    free(picture->samples);
    memset(picture, 0, sizeof *picture);
}

const char *vdit_png_version(void) { return png_get_libpng_ver(NULL); }
