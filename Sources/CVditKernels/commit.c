#include "vdit_commit.h"

// A section of its own, which scripts/stamp overwrites in the finished program: to know the commit while compiling would
// be to compile anew after every commit. Weak, so that no compiler believes what stands here.
__attribute__((weak, used, section("vdit_stamp"))) const char vdit_commit_stamp[VDIT_COMMIT_SIZE] = "";

const char *vdit_commit(void) { return vdit_commit_stamp; }
