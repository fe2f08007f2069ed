#ifndef VDIT_THREADS_H
#define VDIT_THREADS_H

#include <stddef.h>

/// Gives threads that are started from now on, by whichever library, a stack of so many bytes. 0 if that worked.
int vdit_set_thread_stack(size_t bytes);

#endif
