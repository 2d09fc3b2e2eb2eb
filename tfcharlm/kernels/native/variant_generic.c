/* Other processors, such as arm64: vectors of 16 bytes, which every compiler can make. */
#include <stddef.h>
#include <string.h>

#include "memory.h"
#include "recurrence.h"

#if !defined(__x86_64__)
#define LANES 4
#define ROWS 12
#define VARIANT generic_variant
#define NAME "16-byte vectors"
#include "sequence.h"
#endif
