/* x86-64 with AVX2: 16 registers of 8 numbers. */
#include <stddef.h>
#include <string.h>

#include "memory.h"
#include "recurrence.h"

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define LANES 8
#define ROWS 6
#define VARIANT avx2_variant
#define NAME "AVX2"
#include "sequence.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
