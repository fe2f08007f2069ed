#ifndef CPNG_H
#define CPNG_H

#include <stdint.h>

#endif
