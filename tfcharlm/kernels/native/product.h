/* Matrix products in panels.

   A panel is two vectors wide. A matrix that multiplies from the right is packed, panel after panel, each (depth,
   PANEL), so that a product reads it from the first number to the last. The sums of a tile, up to ROWS rows and one
   panel, stay in registers. */

enum { PANEL = 2 * LANES };

/* Products that are added up in the registers, before their sum is added to the sums in memory. One long sum of small
   numbers would lose more digits; and a piece of a panel stays in the first cache while the rows take turns. */
enum { PIECE = 128 };

/* The tiles that fetch a piece, a line for each number of its depth. */
enum { FETCHING = (2 * LANES + LINE - 1) / LINE };

/* The left factor of a product: element (r, k) is at from[r * row + k * column]. */
struct operand {
  const float *from;
  int64_t row, column;
};

/* Sums that a tile of few rows keeps of each number, of every second product or every fourth: a sum waits for the one
   before it, and the processor can do eight meanwhile. */
INLINE int chains_of(int rows) { return rows == 1 ? 4 : rows <= 3 ? 2 : 1; }

/* sums (rows, PANEL), `stride` apart, += left (rows, depth) . right (depth, PANEL); `ahead` is what is fetched into the
   cache meanwhile, a line for each number of the depth. */
INLINE void multiply_rows(const int rows, struct operand left, int64_t depth, const float *right, const float *ahead,
                          float *sums, int64_t stride) {
  const int chains = chains_of(rows);
  vector sum[ROWS][2];
#pragma GCC unroll 16
  for (int r = 0; r < rows * chains; r++) sum[r][0] = sum[r][1] = broadcast(0);
#pragma GCC unroll 16
  for (int r = 0; r < rows; r++) {
    fetch(sums + r * stride, 1);
    fetch(sums + r * stride + LANES, 1);
  }
  /* Four rows from each pointer: the processor adds one, two and three times the stride by itself. */
  const float *at[3] = {left.from, left.from + (rows > 4) * 4 * left.row, left.from + (rows > 8) * 8 * left.row};
  for (int64_t k = 0; k < depth;) {
#pragma GCC unroll 4
    for (int chain = 0; chain < chains && k < depth; chain++, k++) {
      vector first = load(right), second = load(right + LANES);
      fetch(ahead, 1);
#pragma GCC unroll 16
      for (int r = 0; r < rows; r++) {
        vector factor = broadcast(at[r / 4][(r % 4) * left.row]);
        sum[chain * rows + r][0] += factor * first;
        sum[chain * rows + r][1] += factor * second;
      }
      at[0] += left.column, at[1] += left.column, at[2] += left.column;
      right += PANEL, ahead += LINE;
    }
  }
#pragma GCC unroll 16
  for (int r = rows; r < rows * chains; r++) {
    sum[r % rows][0] += sum[r][0];
    sum[r % rows][1] += sum[r][1];
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; r++) {
    store(sums + r * stride, load(sums + r * stride) + sum[r][0]);
    store(sums + r * stride + LANES, load(sums + r * stride + LANES) + sum[r][1]);
  }
}

#define ROWS_OF(n) \
  static __attribute__((noinline)) void multiply_##n(struct operand left, int64_t depth, const float *right, \
                                                     const float *ahead, float *sums, int64_t stride) { \
    multiply_rows(n, left, depth, right, ahead, sums, stride); \
  }
typedef void multiplication(struct operand, int64_t, const float *, const float *, float *, int64_t);
ROWS_OF(1) ROWS_OF(2) ROWS_OF(3) ROWS_OF(4) ROWS_OF(5) ROWS_OF(6)
#if ROWS >= 12
ROWS_OF(7) ROWS_OF(8) ROWS_OF(9) ROWS_OF(10) ROWS_OF(11) ROWS_OF(12)
#endif

static multiplication *const multiply_tile[ROWS + 1] = {
    NULL, multiply_1, multiply_2, multiply_3, multiply_4, multiply_5, multiply_6,
#if ROWS >= 12
    multiply_7, multiply_8, multiply_9, multiply_10, multiply_11, multiply_12,
#endif
};

/* The same for any number of rows, in tiles of nearly equal size, and any depth, in pieces. What comes after this panel
   is fetched meanwhile. */
static void multiply(int64_t rows, struct operand left, int64_t depth, const float *right, float *sums,
                     int64_t stride) {
  const int64_t tiles = (rows + ROWS - 1) / ROWS;
  for (int64_t k = 0; k < depth; k += PIECE) {
    int64_t here = depth - k < PIECE ? depth - k : PIECE;
    for (int64_t n = 0; n < tiles; n++) {
      int64_t begin = rows * n / tiles, end = rows * (n + 1) / tiles;
      struct operand tile = {left.from + begin * left.row + k * left.column, left.row, left.column};
      const float *ahead = right + (k + here) * PANEL + n % FETCHING * here * LINE;
      multiply_tile[end - begin](tile, here, right + k * PANEL, ahead, sums + begin * stride, stride);
    }
  }
}
