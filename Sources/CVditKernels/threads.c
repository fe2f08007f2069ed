#define _GNU_SOURCE
#include "vdit_threads.h"

#include <pthread.h>

int vdit_set_thread_stack(size_t bytes) {
    pthread_attr_t attributes;
    int status = pthread_getattr_default_np(&attributes);
    if (status != 0) return status;
    status = pthread_attr_setstacksize(&attributes, bytes);
    if (status == 0) status = pthread_setattr_default_np(&attributes);
    pthread_attr_destroy(&attributes);
    return status;
}
