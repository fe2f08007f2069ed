#ifndef VDIT_THREADS_H
#define VDIT_THREADS_H

#include <stddef.h>
#include <stdint.h>

/// Gives threads that are started from now on, by whichever library, a stack of so many bytes. 0 if that worked.
int vdit_set_thread_stack(size_t bytes);

/// The processors that the calling thread may run on, a bit for each. 0; EINVAL where there are more than bits.
int vdit_get_affinity(uint64_t *processors, size_t words);

/// Holds the calling thread to some processors. 0, or why not.
int vdit_set_affinity(const uint64_t *processors, size_t words);

/// Memory nodes a policy may name.
#define VDIT_MEMORY_NODES 1024

/// On which nodes pages lie that a thread is the first to touch: the system's mode, and a bit for each node.
typedef struct {
    int mode;
    unsigned long nodes[VDIT_MEMORY_NODES / (8 * sizeof(unsigned long))];
} vdit_memory_policy;

/// The calling thread's policy. 0, or why there is none: systems without nodes, sandboxes that refuse the call.
int vdit_get_memory_policy(vdit_memory_policy *policy);

/// Gives the calling thread a policy. 0, or why not.
int vdit_set_memory_policy(const vdit_memory_policy *policy);

/// The policy of pages in turn on some nodes, each below `VDIT_MEMORY_NODES`.
vdit_memory_policy vdit_interleaved_memory(const int64_t *nodes, int64_t count);

/// Has pages from `start`, which begins one, lie on the node of who touches them first, whatever that thread's policy.
/// 0, or why not.
int vdit_keep_memory_local(void *start, size_t bytes);

#endif
