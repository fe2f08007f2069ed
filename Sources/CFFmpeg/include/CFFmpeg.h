#ifndef CFFMPEG_H
#define CFFMPEG_H

#include <libavcodec/avcodec.h>
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

#endif
