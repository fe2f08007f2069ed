// Memory on its way into the second-level cache, a few lines with every few tile products: a core reads some ten bytes
// a cycle beyond that cache, and the products would wait for all of them. Included inside an ISA region.

typedef struct {
    const char *line, *end;
    int lines;  // a time
} fetching;

VDIT_INLINE void fetch_some(fetching *f) {
    if (f->line >= f->end) return;
    for (int i = 0; i < f->lines; i++) _mm_prefetch(f->line + i * 64, _MM_HINT_T1);
    f->line += f->lines * 64;
}
