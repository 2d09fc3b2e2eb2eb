/* Memory that is kept when it is given back, up to 1 GiB: large new blocks would be fresh pages each time, and zeroing
   pages costs as much as products. Any thread may call. */
#ifndef TFCHARLM_MEMORY_H
#define TFCHARLM_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* Memory at a multiple of 64 bytes; NULL if there is none. */
void *take_bytes(size_t bytes);
void give_memory(void *memory);

/* An array of `count` numbers, aligned to 64 bytes, and where its address is to be written. */
struct part {
  float **where;
  int64_t count;
};

/* Memory for all parts at once; 0, or -1 if there is none. It is given back as what the first part points to. */
int take_memory(const struct part *parts, int count);

#endif
