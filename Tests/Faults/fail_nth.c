// Makes the n-th call of one kind fail, to see what a program does then.
//
//   cc -shared -fPIC -o fail_nth.so fail_nth.c
//   LD_PRELOAD=./fail_nth.so FAIL_KIND=write FAIL_AT=3 FAIL_MARK=failed program
//
// Kinds: write (no space left), fsync and rename (input/output error; a link counts as a rename), mmap of a file (out of
// memory; oneDNN does not look whether it gets the pages for its code), open of a file that is not the system's (too many
// open files; libgcrypt ends the process where it cannot read one of /proc). Calls of all threads are counted together;
// the file FAIL_MARK is made with the failure.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_long calls;

static int fails(const char *kind, int code) {
    const char *wanted = getenv("FAIL_KIND"), *place = getenv("FAIL_AT"), *mark = getenv("FAIL_MARK");
    if (!wanted || !place || strcmp(wanted, kind) != 0) return 0;
    if (atomic_fetch_add(&calls, 1) + 1 != atol(place)) return 0;
    if (mark) {
        long file = syscall(SYS_openat, AT_FDCWD, mark, O_WRONLY | O_CREAT, 0666);
        if (file >= 0) syscall(SYS_close, file);
    }
    errno = code;
    return 1;
}

static int fails_opening(const char *path) {
    const char *own[] = {"/proc/", "/sys/", "/dev/", "/etc/", "/usr/", "/lib"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strncmp(path, own[i], strlen(own[i])) == 0) return 0;
    return fails("open", EMFILE);
}

#define NEXT(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))

ssize_t write(int file, const void *bytes, size_t count) {
    return fails("write", ENOSPC) ? -1 : NEXT(write)(file, bytes, count);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
    return fails("write", ENOSPC) ? -1 : NEXT(pwrite)(file, bytes, count, offset);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
    return fails("write", ENOSPC) ? -1 : NEXT(pwrite64)(file, bytes, count, offset);
}

size_t fwrite(const void *bytes, size_t size, size_t count, FILE *file) {
    return fails("write", ENOSPC) ? 0 : NEXT(fwrite)(bytes, size, count, file);
}

int fsync(int file) { return fails("fsync", EIO) ? -1 : NEXT(fsync)(file); }
int fdatasync(int file) { return fails("fsync", EIO) ? -1 : NEXT(fdatasync)(file); }

int rename(const char *from, const char *to) { return fails("rename", EIO) ? -1 : NEXT(rename)(from, to); }
int link(const char *from, const char *to) { return fails("rename", EIO) ? -1 : NEXT(link)(from, to); }

void *mmap(void *place, size_t size, int access, int flags, int file, off_t offset) {
    return file >= 0 && fails("mmap", ENOMEM) ? MAP_FAILED : NEXT(mmap)(place, size, access, flags, file, offset);
}

void *mmap64(void *place, size_t size, int access, int flags, int file, off64_t offset) {
    return file >= 0 && fails("mmap", ENOMEM) ? MAP_FAILED : NEXT(mmap64)(place, size, access, flags, file, offset);
}

FILE *fopen(const char *path, const char *mode) {
    return fails_opening(path) ? NULL : NEXT(fopen)(path, mode);
}

FILE *fopen64(const char *path, const char *mode) {
    return fails_opening(path) ? NULL : NEXT(fopen64)(path, mode);
}

static mode_t mode_of(int flags, va_list rest) { return flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; }

#define OPENS(name, parameters, arguments)                             \
    int name parameters {                                              \
        va_list rest;                                                  \
        va_start(rest, flags);                                         \
        mode_t mode = mode_of(flags, rest);                            \
        va_end(rest);                                                  \
        return fails_opening(path) ? -1 : NEXT(name) arguments;      \
    }

OPENS(open, (const char *path, int flags, ...), (path, flags, mode))
OPENS(open64, (const char *path, int flags, ...), (path, flags, mode))
OPENS(openat, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))
OPENS(openat64, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))
