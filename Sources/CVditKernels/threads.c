#define _GNU_SOURCE
#include "vdit_threads.h"

#include <errno.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

int vdit_set_thread_stack(size_t bytes) {
    pthread_attr_t attributes;
    int status = pthread_getattr_default_np(&attributes);
    if (status != 0) return status;
    status = pthread_attr_setstacksize(&attributes, bytes);
    if (status == 0) status = pthread_setattr_default_np(&attributes);
    pthread_attr_destroy(&attributes);
    return status;
}

int vdit_get_affinity(uint64_t *processors, size_t words) {
    return sched_getaffinity(0, 8 * words, (cpu_set_t *)processors) == 0 ? 0 : errno;
}

int vdit_set_affinity(const uint64_t *processors, size_t words) {
    return sched_setaffinity(0, 8 * words, (const cpu_set_t *)processors) == 0 ? 0 : errno;
}

// The system counts one bit more than it reads.
enum { NODE_BITS = VDIT_MEMORY_NODES + 1 };

int vdit_get_memory_policy(vdit_memory_policy *policy) {
    return syscall(SYS_get_mempolicy, &policy->mode, policy->nodes, NODE_BITS, NULL, 0) == 0 ? 0 : errno;
}

int vdit_set_memory_policy(const vdit_memory_policy *policy) {
    return syscall(SYS_set_mempolicy, policy->mode, policy->nodes, NODE_BITS) == 0 ? 0 : errno;
}

vdit_memory_policy vdit_interleaved_memory(const int64_t *nodes, int64_t count) {
    enum { BITS = 8 * sizeof(unsigned long) };
    vdit_memory_policy policy = {.mode = MPOL_INTERLEAVE};
    for (int64_t i = 0; i < count; i++) policy.nodes[nodes[i] / BITS] |= 1UL << (nodes[i] % BITS);
    return policy;
}

int vdit_keep_memory_local(void *start, size_t bytes) {
    return syscall(SYS_mbind, start, bytes, MPOL_LOCAL, NULL, 0, 0) == 0 ? 0 : errno;
}
