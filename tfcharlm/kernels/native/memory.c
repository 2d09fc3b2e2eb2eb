#include "memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

/* Free blocks that are kept for the next call: at most so many, of so many bytes together, and none without which
   MOST_IDLE other calls were served. */
enum { MOST_BLOCKS = 64, MOST_IDLE = 256 };
static const size_t MOST_BYTES = (size_t)1 << 30;
enum { PAGE = 1 << 12, HUGE_PAGE = 1 << 21 };

struct block {
  void *begin;
  size_t size;
  uint64_t since; /* the number of calls when it became free */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block free_blocks[MOST_BLOCKS];
static size_t free_bytes;
static uint64_t calls;

/* A child of fork has only one thread; no other one may hold the lock then. */
static void take_lock(void) { pthread_mutex_lock(&lock); }
static void give_lock(void) { pthread_mutex_unlock(&lock); }

__attribute__((constructor)) static void survive_forks(void) { pthread_atfork(take_lock, give_lock, give_lock); }

/* A block begins with its size, in as many bytes as keep the rest aligned. */
enum { HEAD = 64 };

static void *new_block(size_t size) {
  void *begin;
  if (posix_memalign(&begin, size >= HUGE_PAGE ? HUGE_PAGE : HEAD, size)) return NULL;
#if defined(MADV_HUGEPAGE)
  if (size >= HUGE_PAGE) madvise(begin, size, MADV_HUGEPAGE);
#endif
  *(size_t *)begin = size;
  return begin;
}

static void *pop(struct block *block) {
  void *begin = block->begin;
  free_bytes -= block->size;
  block->begin = NULL;
  return begin;
}

static void release_idle(uint64_t idle) {
  for (struct block *block = free_blocks; block < free_blocks + MOST_BLOCKS; block++)
    if (block->begin && calls - block->since >= idle) free(pop(block));
}

/* The smallest free block of at least `size` bytes that does not waste as much again. */
static void *kept_block(size_t size) {
  struct block *best = NULL;
  for (struct block *block = free_blocks; block < free_blocks + MOST_BLOCKS; block++)
    if (block->begin && block->size >= size && block->size / 2 <= size && (!best || block->size < best->size))
      best = block;
  return best ? pop(best) : NULL;
}

void *take_bytes(size_t bytes) {
  size_t unit = bytes >= 2 * HUGE_PAGE ? HUGE_PAGE : bytes >= HUGE_PAGE ? PAGE : HEAD;
  if (bytes > SIZE_MAX / 2) return NULL;
  size_t size = (bytes + HEAD + unit - 1) / unit * unit;
  take_lock();
  calls++;
  void *begin = kept_block(size);
  release_idle(MOST_IDLE);
  give_lock();
  if (!begin) begin = new_block(size);
  if (!begin) {
    take_lock();
    release_idle(0);
    give_lock();
    begin = new_block(size);
  }
#if defined(TFCHARLM_POISON)
  /* For tests: all numbers that nobody has written are NaN. */
  if (begin) memset((char *)begin + HEAD, 0xff, bytes);
#endif
  return begin ? (char *)begin + HEAD : NULL;
}

void give_memory(void *memory) {
  if (!memory) return;
  void *begin = (char *)memory - HEAD;
  size_t size = *(size_t *)begin;
  take_lock();
  release_idle(MOST_IDLE);
  struct block *place = free_blocks;
  while (place < free_blocks + MOST_BLOCKS && place->begin) place++;
  if (place < free_blocks + MOST_BLOCKS && free_bytes + size <= MOST_BYTES) {
    *place = (struct block){begin, size, calls};
    free_bytes += size;
    begin = NULL;
  }
  give_lock();
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
