#ifndef CFFMPEG_H
#define CFFMPEG_H

#include <libavcodec/avcodec.h>
#include <libavfilter/avfilter.h>
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <libavformat/avformat.h>
#include <libavutil/avutil.h>
#include <libavutil/dict.h>
#include <libavutil/error.h>
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libavutil/sha.h>
#include <libswscale/swscale.h>

// Macros Swift cannot import.
static inline int vdit_averror(int code) { return AVERROR(code); }
static inline int64_t vdit_av_nopts(void) { return AV_NOPTS_VALUE; }
static inline int vdit_averror_eof(void) { return AVERROR_EOF; }
static const enum AVPixelFormat VDIT_PIX_FMT_RGB48 = AV_PIX_FMT_RGB48;

/// Turns libav's own printing off for the process and keeps its last error line per thread instead.
void vdit_av_keep_messages(void);

/// The last error line libav logged on this thread since `vdit_av_clear_message`, without newline; "" if none.
const char *vdit_av_message(void);
void vdit_av_clear_message(void);

/// What libav calls a status code, written to `text` (at most `size` bytes with the terminator).
void vdit_av_describe(int status, char *text, size_t size);

/// Converts all of `source` into `target`; both are allocated frames of the context's sizes and formats.
/// Returns a negative status on failure.
int vdit_sws_convert(struct SwsContext *context, const AVFrame *source, AVFrame *target);

/// Copies `height` rows of `bytes_per_row` between a frame's plane and contiguous memory.
void vdit_av_fill_plane(AVFrame *frame, int plane, const uint8_t *rows, int bytes_per_row, int height);
void vdit_av_copy_plane(const AVFrame *frame, int plane, uint8_t *rows, int bytes_per_row, int height);

/// Bytes of one row of `plane`, and its rows, at this frame's format and size; 0 if there is no such plane.
int vdit_av_plane_row_bytes(const AVFrame *frame, int plane);
int vdit_av_plane_rows(const AVFrame *frame, int plane);

#endif
