#ifndef CPNG_H
#define CPNG_H

#include <stddef.h>
#include <stdint.h>

/// One text chunk. Keys are 1 to 79 printable Latin-1 bytes; values are UTF-8.
typedef struct {
    const char *key;
    const char *value;
} vdit_png_text;

/// A decoded picture; `samples` and the texts are freed by `vdit_png_free`.
typedef struct {
    uint32_t width;
    uint32_t height;
    int channels;        // 1 gray, 3 RGB; an alpha channel is dropped
    int depth;           // 8 or 16 bits a sample; 16 in the machine's byte order
    int has_alpha;       // whether one was dropped
    uint8_t *samples;    // [height, width, channels]
    int text_count;
    vdit_png_text *texts;
} vdit_png_picture;

/// What went wrong: a line of text, and errno if the system said it (0 if the content is at fault).
typedef struct {
    char text[256];
    int code;
} vdit_png_failure;

/// Writes [height, width, channels] samples to `path` (created or truncated); syncing is the caller's.
/// The same arguments give the same bytes. Returns 0, or -1 with `failure` filled; the file may then exist.
int vdit_png_write(const char *path, uint32_t width, uint32_t height, int channels, int depth,
                   const uint8_t *samples, const vdit_png_text *texts, int text_count,
                   vdit_png_failure *failure);

/// Reads any PNG: palettes and low bit depths are expanded, alpha is dropped. Pictures of more than
/// `byte_limit` bytes are refused before memory is taken. Returns 0, or -1 with `failure` filled.
int vdit_png_read(const char *path, size_t byte_limit, vdit_png_picture *picture,
                  vdit_png_failure *failure);

void vdit_png_free(vdit_png_picture *picture);

const char *vdit_png_version(void);

#endif
