#include "memory.h"

#include <pthread.h>
#include <stdlib.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

/* Kept blocks of memory. A block that other calls did without for MOST_IDLE takes is given back to the system. */
enum { MOST_KEPT = 64, MOST_IDLE = 256, HUGE_PAGE = 1 << 21 };

struct block {
  void *begin;
  size_t size;
  uint64_t given; /* which take was the last before it was given back */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block kept[MOST_KEPT];
static uint64_t takes;

/* A block begins with its size, in as many bytes as keep the rest aligned. */
enum { HEAD = 64 };

static void *new_block(size_t size) {
  size_t alignment = size >= HUGE_PAGE ? HUGE_PAGE : 64;
  size = (size + alignment - 1) / alignment * alignment;
  char *begin = aligned_alloc(alignment, size);
  if (!begin) return NULL;
#if defined(MADV_HUGEPAGE)
  if (alignment == HUGE_PAGE) madvise(begin, size, MADV_HUGEPAGE);
#endif
  *(size_t *)begin = size;
  return begin;
}

/* The smallest kept block of at least `size` bytes that does not waste as much again. */
static void *kept_block(size_t size) {
  struct block *best = NULL;
  for (struct block *block = kept; block < kept + MOST_KEPT; block++) {
    if (!block->begin) continue;
    if (block->size >= size && block->size / 2 <= size && (!best || block->size < best->size)) best = block;
    else if (takes - block->given > MOST_IDLE) {
      free(block->begin);
      block->begin = NULL;
    }
  }
  if (!best) return NULL;
  void *begin = best->begin;
  best->begin = NULL;
  return begin;
}

void *take_bytes(size_t bytes) {
  size_t size = bytes + HEAD;
  pthread_mutex_lock(&lock);
  takes++;
  void *begin = kept_block(size);
  pthread_mutex_unlock(&lock);
  if (!begin) begin = new_block(size);
  return begin ? (char *)begin + HEAD : NULL;
}

void give_memory(void *memory) {
  if (!memory) return;
  void *begin = (char *)memory - HEAD;
  pthread_mutex_lock(&lock);
  struct block *place = kept;
  while (place < kept + MOST_KEPT && place->begin) place++;
  if (place < kept + MOST_KEPT) {
    *place = (struct block){begin, *(size_t *)begin, takes};
    begin = NULL;
  }
  pthread_mutex_unlock(&lock);
  free(begin);
}

int take_memory(const struct part *parts, int count) {
  size_t total = 0;
  for (int i = 0; i < count; i++) total += (size_t)((parts[i].count + 15) / 16 * 16);
  float *next = take_bytes(total * sizeof(float));
  if (!next) return -1;
  for (int i = 0; i < count; i++) {
    *parts[i].where = next;
    next += (parts[i].count + 15) / 16 * 16;
  }
  return 0;
}
