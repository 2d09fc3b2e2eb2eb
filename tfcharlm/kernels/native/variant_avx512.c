/* x86-64 with AVX-512: 32 registers of 16 numbers. */
#include <stddef.h>
#include <string.h>

#include "memory.h"
#include "recurrence.h"

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")
#endif
#define LANES 16
#define ROWS 12
#define VARIANT avx512_variant
#define NAME "AVX-512"
#include "sequence.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
