#include "CFFmpeg.h"

#include <stdio.h>
#include <string.h>

static _Thread_local char message[512];

static void keep(void *object, int level, const char *format, va_list arguments) {
    if (level > AV_LOG_ERROR) return;
    char line[sizeof message];
    int prefix = 1;
    av_log_format_line2(object, level, format, arguments, line, sizeof line, &prefix);
    size_t length = strcspn(line, "\r\n");
    if (length == 0) return;
    line[length] = 0;
    memcpy(message, line, length + 1);
}

void vdit_av_keep_messages(void) { av_log_set_callback(keep); }

const char *vdit_av_message(void) { return message; }

void vdit_av_clear_message(void) { message[0] = 0; }

void vdit_av_describe(int status, char *text, size_t size) {
    if (av_strerror(status, text, size) < 0) snprintf(text, size, "status %d", status);
}

int vdit_sws_convert(struct SwsContext *context, const AVFrame *source, AVFrame *target) {
    int rows = sws_scale(context, (const uint8_t *const *)source->data, source->linesize, 0,
                         source->height, target->data, target->linesize);
    if (rows < 0) return rows;
    return rows == target->height ? 0 : AVERROR(EINVAL);
}

void vdit_av_fill_plane(AVFrame *frame, int plane, const uint8_t *rows, int bytes_per_row, int height) {
    av_image_copy_plane(frame->data[plane], frame->linesize[plane], rows, bytes_per_row,
                        bytes_per_row, height);
}

void vdit_av_copy_plane(const AVFrame *frame, int plane, uint8_t *rows, int bytes_per_row, int height) {
    av_image_copy_plane(rows, bytes_per_row, frame->data[plane], frame->linesize[plane],
                        bytes_per_row, height);
}

int vdit_av_plane_row_bytes(const AVFrame *frame, int plane) {
    if (plane < 0 || plane >= 4 || !frame->data[plane]) return 0;
    int bytes = av_image_get_linesize(frame->format, frame->width, plane);
    return bytes > 0 ? bytes : 0;
}

int vdit_av_plane_rows(const AVFrame *frame, int plane) {
    const AVPixFmtDescriptor *format = av_pix_fmt_desc_get(frame->format);
    if (!format) return 0;
    if (plane == 1 || plane == 2) return AV_CEIL_RSHIFT(frame->height, format->log2_chroma_h);
    return frame->height;
}
