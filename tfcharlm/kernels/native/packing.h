/* Where the units of a cell are in panels, and how matrices get there and back. */

static int64_t smaller_of(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t rounded_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* Blocks of units, and their panels of pre-activations. */
INLINE int64_t blocks_of(enum cell cell, int64_t units) {
  int64_t width = unit_vectors(cell) * LANES;
  return (units + width - 1) / width;
}
INLINE int64_t panels_of(enum cell cell, int64_t units) { return blocks_of(cell, units) * panel_count(cell); }

/* Where vector v (0 or 1) of a panel is in a row of G*H numbers, and how many of its lanes are units. */
struct place {
  int64_t column, lanes;
};

INLINE struct place place_of(enum cell cell, int64_t units, int64_t panel, int v) {
  int64_t block = panel / panel_count(cell), vectors = unit_vectors(cell);
  /* The vectors of a block are those of its first gate, then those of the next one. */
  int64_t in_block = panel % panel_count(cell) * 2 + v, gate = in_block / vectors;
  int64_t unit = (block * vectors + in_block % vectors) * LANES;
  struct place place = {gate * units + unit, smaller_of(LANES, units - unit)};
  if (place.lanes < 0) place.lanes = 0;
  return place;
}

INLINE vector load_at(const float *row, struct place place) { return load_some(row + place.column, place.lanes); }

/* Rows of a matrix that are packed or unpacked in turn, for all panels: reading and writing both go along lines of the
   cache. */
enum { STRIP = 16 };

/* (depth, G*H) -> [panel][depth][PANEL], with a row added to each */
INLINE void pack(enum cell cell, int64_t units, int64_t depth, const float *matrix, const float *added, float *packed) {
  int64_t width = block_count(cell) * units;
  for (int64_t begin = 0; begin < depth; begin += STRIP)
    for (int64_t panel = 0; panel < panels_of(cell, units); panel++)
      for (int v = 0; v < 2; v++) {
        struct place place = place_of(cell, units, panel, v);
        vector more = added && place.lanes ? load_at(added, place) : broadcast(0);
        for (int64_t k = begin; k < smaller_of(begin + STRIP, depth); k++) {
          vector row = place.lanes ? load_at(matrix + k * width, place) : broadcast(0);
          store(packed + (panel * depth + k) * PANEL + v * LANES, added ? row + more : row);
        }
      }
}

/* [panel][depth of `stride` rows][PANEL] -> (depth, G*H) */
INLINE void unpack(enum cell cell, int64_t units, int64_t depth, int64_t stride, const float *packed, float *matrix) {
  int64_t width = block_count(cell) * units;
  for (int64_t begin = 0; begin < depth; begin += STRIP)
    for (int64_t panel = 0; panel < panels_of(cell, units); panel++)
      for (int v = 0; v < 2; v++) {
        struct place place = place_of(cell, units, panel, v);
        const float *from = packed + panel * stride * PANEL + v * LANES;
        for (int64_t k = begin; place.lanes && k < smaller_of(begin + STRIP, depth); k++)
          store_some(matrix + k * width + place.column, load(from + k * PANEL), place.lanes);
      }
}

/* (depth, G*H) -> [panel of the depth][pre-activation in the order of the panels][PANEL]: the right factor of products
   with gradients of z */
INLINE void pack_transposed(enum cell cell, int64_t units, int64_t depth, const float *matrix, float *packed) {
  int64_t width = block_count(cell) * units;
  for (int64_t begin = 0; begin < depth; begin += PANEL)
    for (int64_t panel = 0; panel < panels_of(cell, units); panel++)
      for (int v = 0; v < 2; v++, packed += LANES * PANEL) {
        struct place place = place_of(cell, units, panel, v);
        /* Rows of a matrix lie a power of two apart, in the same set of the cache, so they are copied first. */
        float square[PANEL][LANES + 1];
        for (int64_t row = 0; row < PANEL; row++) {
          int is_there = begin + row < depth && place.lanes;
          store(square[row], is_there ? load_at(matrix + (begin + row) * width, place) : broadcast(0));
        }
        for (int64_t lane = 0; lane < LANES; lane++)
          for (int64_t row = 0; row < PANEL; row++) packed[lane * PANEL + row] = square[row][lane];
      }
}

/* Rows (count, width), `stride` apart, for a product that adds over rows -> [tile of ROWS columns][count][ROWS] */
static void pack_rows(const float *const *rows, int64_t count, int64_t width, float *packed) {
  for (int64_t r = 0; r < count; r++) {
    float *to = packed + r * ROWS;
    for (int64_t begin = 0; begin < width; begin += ROWS, to += count * ROWS)
      if (width - begin >= ROWS) memcpy(to, rows[r] + begin, ROWS * sizeof(float));
      else {
        memset(to, 0, ROWS * sizeof(float));
        memcpy(to, rows[r] + begin, (width - begin) * sizeof(float));
      }
  }
}
