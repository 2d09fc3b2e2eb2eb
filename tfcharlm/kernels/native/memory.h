/* Memory that a pass has used is kept for the next one: fresh pages cost as much as products. Any thread may call. */
#ifndef TFCHARLM_MEMORY_H
#define TFCHARLM_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* Memory at a multiple of 64 bytes; NULL if there is none. */
void *take_bytes(size_t bytes);
/* Memory for parts of so many numbers, each rounded up to 16. 0, or -1 if there is none. */
int take_memory(const int64_t *sizes, int count, float **begin);
void give_memory(void *memory);

#endif
