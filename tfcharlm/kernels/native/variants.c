/* Which vectors to use, asked when the library is loaded. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "recurrence.h"

/* TFCHARLM_NATIVE=AVX2 means AVX2 even where there is AVX-512: to measure it, or for the same bits on all machines. */
static int may_use(const char *name) {
  const char *wanted = getenv("TFCHARLM_NATIVE");
  return !wanted || strcmp(wanted, "AVX2") || !strcmp(name, "AVX2");
}

const struct variant *best_variant(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (may_use("AVX-512") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
    return &avx512_variant;
  if (may_use("AVX2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &avx2_variant;
  return NULL;
#else
  (void)may_use;
  return &generic_variant;
#endif
}
