/* Matrix products in panels.

   A panel is two vectors wide. A matrix that multiplies from the right is packed, panel after panel, each (depth, 2 *
   LANES), so that a product reads it from the first number to the last. The sums of up to ROWS rows and one panel stay
   in registers. */

enum { PANEL = 2 * LANES };

/* The left factor of a product: element (r, k) of block n is at from[r * row + k * column + n * block]. */
struct operand {
  const float *from;
  int64_t row, column, depth, blocks, block;
};

/* Products that are added up in the registers, before their sum is added to the sums in memory. One long sum of small
   numbers would lose more digits. */
enum { PIECE = 128 };

INLINE void add_to_memory(const int rows, vector sum[][2], float *sums, int64_t stride) {
#pragma GCC unroll 16
  for (int r = 0; r < rows; r++) {
    store(sums + r * stride, load(sums + r * stride) + sum[r][0]);
    store(sums + r * stride + LANES, load(sums + r * stride + LANES) + sum[r][1]);
    sum[r][0] = sum[r][1] = all(0);
  }
}

/* sums (rows, PANEL), `stride` apart, += left (rows, blocks * depth) . right (blocks * depth, PANEL) */
INLINE void multiply_rows(const int rows, struct operand left, const float *right, float *sums, int64_t stride) {
  vector sum[ROWS][2];
#pragma GCC unroll 16
  for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] = all(0);
  int64_t added = 0;
  for (int64_t n = 0; n < left.blocks; n++) {
    /* Four rows from each pointer: the processor adds one, two and three times the stride by itself. */
    const float *at[3] = {left.from + n * left.block, 0, 0};
    at[1] = at[0] + 4 * left.row;
    at[2] = at[1] + 4 * left.row;
    for (int64_t begin = 0; begin < left.depth; begin += PIECE) {
      int64_t count = left.depth - begin < PIECE ? left.depth - begin : PIECE;
      for (int64_t k = 0; k < count; k++) {
        vector first = load(right), second = load(right + LANES);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
          vector factor = all(at[r / 4][(r % 4) * left.row]);
          sum[r][0] += factor * first;
          sum[r][1] += factor * second;
        }
        at[0] += left.column, at[1] += left.column, at[2] += left.column;
        right += PANEL;
      }
      added += count;
      if (added >= PIECE) add_to_memory(rows, sum, sums, stride), added = 0;
    }
  }
  add_to_memory(rows, sum, sums, stride);
}

#define MULTIPLY(n) \
  case n: \
    multiply_rows(n, left, right, sums, stride); \
    break;

static void multiply_tile(int rows, struct operand left, const float *right, float *sums, int64_t stride) {
  switch (rows) {
    MULTIPLY(1) MULTIPLY(2) MULTIPLY(3) MULTIPLY(4)
#if ROWS >= 6
    MULTIPLY(5) MULTIPLY(6)
#endif
#if ROWS >= 12
    MULTIPLY(7) MULTIPLY(8) MULTIPLY(9) MULTIPLY(10) MULTIPLY(11) MULTIPLY(12)
#endif
  }
}

/* The same for any number of rows, in tiles of nearly equal size. */
static void multiply(int64_t rows, struct operand left, const float *right, float *sums, int64_t stride) {
  int64_t tiles = (rows + ROWS - 1) / ROWS;
  const float *from = left.from;
  for (int64_t n = 0; n < tiles; n++) {
    int64_t begin = rows * n / tiles, end = rows * (n + 1) / tiles;
    left.from = from + begin * left.row;
    multiply_tile((int)(end - begin), left, right, sums + begin * stride, stride);
  }
}
