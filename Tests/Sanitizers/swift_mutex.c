// Tells the thread sanitizer what Swift's Mutex does where it has to wait.
//
//   clang -shared -fPIC -o swift_mutex.so swift_mutex.c
//   LD_PRELOAD=./swift_mutex.so program
//
// Locking and unlocking without contention is compiled into the program and seen. The rest lies in the Synchronization
// library, which is not instrumented: a lock that had to be waited for would order nothing, and all that it guards
// would look like a race. A handle of the mutex is the address of its one word.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>

#define SWIFT __attribute__((swiftcall))
#define HANDLE __attribute__((swift_context)) void *handle
#define LOCK_SLOW "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define TRY_LOCK_SLOW "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"
#define UNLOCK_SLOW "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

extern void __tsan_acquire(void *address) __attribute__((weak));
extern void __tsan_release(void *address) __attribute__((weak));

static void acquired(void *handle) {
    if (__tsan_acquire) __tsan_acquire(handle);
}

static void releasing(void *handle) {
    if (__tsan_release) __tsan_release(handle);
}

SWIFT void lock_slow(uint32_t thread, HANDLE) __asm__(LOCK_SLOW);
SWIFT void lock_slow(uint32_t thread, HANDLE) {
    SWIFT void (*next)(uint32_t, HANDLE) = dlsym(RTLD_NEXT, LOCK_SLOW);
    next(thread, handle);
    acquired(handle);
}

SWIFT bool try_lock_slow(HANDLE) __asm__(TRY_LOCK_SLOW);
SWIFT bool try_lock_slow(HANDLE) {
    SWIFT bool (*next)(HANDLE) = dlsym(RTLD_NEXT, TRY_LOCK_SLOW);
    bool locked = next(handle);
    if (locked) acquired(handle);
    return locked;
}

SWIFT void unlock_slow(HANDLE) __asm__(UNLOCK_SLOW);
SWIFT void unlock_slow(HANDLE) {
    SWIFT void (*next)(HANDLE) = dlsym(RTLD_NEXT, UNLOCK_SLOW);
    releasing(handle);
    next(handle);
}
