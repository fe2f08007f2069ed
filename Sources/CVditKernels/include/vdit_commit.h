#ifndef VDIT_COMMIT_H
#define VDIT_COMMIT_H

#define VDIT_COMMIT_SIZE 64

// The commit this program was built from, with a + behind it where the tree had changes; empty where nobody said.
const char *vdit_commit(void);

#endif
