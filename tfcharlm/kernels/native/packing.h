/* Where the units of a cell are in panels, and how matrices get there and back. */

static int64_t smaller_of(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t rounded_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* Blocks of units, and their panels of pre-activations. */
INLINE int64_t blocks_of(enum cell cell, int64_t units) {
  int64_t width = unit_vectors(cell) * LANES;
  return (units + width - 1) / width;
}
INLINE int64_t panels_of(enum cell cell, int64_t units) { return blocks_of(cell, units) * panel_count(cell); }

/* Which panel is number q of a block. A GRU has those that come from the state alone first, those that come from the
   input alone last, so that what a product needs lies together. Other cells have the panels of a block together. */
INLINE int64_t panel_of(enum cell cell, int64_t units, int64_t block, int q) {
  int64_t blocks = blocks_of(cell, units);
  if (cell == GRU && q == 3) return block;
  if (cell == GRU && q == 2) return 3 * blocks + block;
  return cell == GRU ? blocks + 2 * block + q : block * panel_count(cell) + q;
}

/* Panels from `begin` on, before `end`. */
struct range {
  int64_t begin, end;
};

INLINE int is_in(struct range range, int64_t panel) { return panel >= range.begin && panel < range.end; }

/* Pre-activations that come from the state, and those that come from the input. */
INLINE struct range state_panels(enum cell cell, int64_t units) {
  return (struct range){0, panels_of(cell, units) - (cell == GRU ? blocks_of(cell, units) : 0)};
}
INLINE struct range input_panels(enum cell cell, int64_t units) {
  return (struct range){cell == GRU ? blocks_of(cell, units) : 0, panels_of(cell, units)};
}

/* Where vector v (0 or 1) of panel q of a block is in a row of G*H numbers, and how many of its lanes are units. In the
   matrices of a GRU, both parts of the candidate are in the last block. */
struct place {
  int64_t column, lanes;
};

INLINE struct place place_of(enum cell cell, int64_t units, int64_t block, int q, int v, int gates) {
  /* The vectors of a block are those of its first gate, then those of the next one. */
  int64_t vectors = unit_vectors(cell), in_block = q * 2 + v, gate = smaller_of(in_block / vectors, gates - 1);
  int64_t unit = (block * vectors + in_block % vectors) * LANES;
  struct place place = {gate * units + unit, smaller_of(LANES, units - unit)};
  if (place.lanes < 0) place.lanes = 0;
  return place;
}

INLINE vector load_at(const float *row, struct place place) { return load_some(row + place.column, place.lanes); }

/* Rows of a matrix that are packed or unpacked in turn, for all panels: reading and writing both go along lines of the
   cache. */
enum { STRIP = 16 };

/* (depth, G*H) -> [panel][depth][PANEL] in a range of panels, zeros in the others; then the bias added to each row */
INLINE void pack(enum cell cell, int64_t units, int64_t depth, const float *matrix, struct range range,
                 const float *bias, float *packed) {
  const int gates = block_count(cell);
  for (int64_t begin = 0; begin < depth; begin += STRIP)
    for (int64_t block = 0; block < blocks_of(cell, units); block++)
      for (int qv = 0; qv < 2 * panel_count(cell); qv++) {
        struct place place = place_of(cell, units, block, qv / 2, qv % 2, gates);
        struct place in_bias = place_of(cell, units, block, qv / 2, qv % 2, bias_blocks(cell));
        int64_t panel = panel_of(cell, units, block, qv / 2);
        float *to = packed + panel * depth * PANEL + qv % 2 * LANES;
        vector more = bias && place.lanes ? load_at(bias, in_bias) : broadcast(0);
        int is_there = is_in(range, panel) && place.lanes;
        for (int64_t k = begin; k < smaller_of(begin + STRIP, depth); k++) {
          vector row = is_there ? load_at(matrix + k * gates * units, place) : broadcast(0);
          store(to + k * PANEL, bias ? row + more : row);
        }
      }
}

/* [panel][depth of `stride` rows][PANEL] -> (depth, gates*H), from the panels in a range */
INLINE void unpack(enum cell cell, int64_t units, int64_t depth, int64_t stride, const float *packed,
                   struct range range, int gates, float *matrix) {
  for (int64_t begin = 0; begin < depth; begin += STRIP)
    for (int64_t block = 0; block < blocks_of(cell, units); block++)
      for (int qv = 0; qv < 2 * panel_count(cell); qv++) {
        struct place place = place_of(cell, units, block, qv / 2, qv % 2, gates);
        int64_t panel = panel_of(cell, units, block, qv / 2);
        const float *from = packed + panel * stride * PANEL + qv % 2 * LANES;
        int is_there = is_in(range, panel) && place.lanes;
        for (int64_t k = begin; is_there && k < smaller_of(begin + STRIP, depth); k++)
          store_some(matrix + k * gates * units + place.column, load(from + k * PANEL), place.lanes);
      }
}

/* (depth, G*H) -> [panel of the depth][pre-activation in the order of the panels][PANEL]: the right factor of products
   with gradients of z. Of the pre-activations it has those in a range of panels. */
INLINE void pack_transposed(enum cell cell, int64_t units, int64_t depth, const float *matrix, struct range range,
                            float *packed) {
  const int gates = block_count(cell);
  for (int64_t begin = 0; begin < depth; begin += PANEL, packed += (range.end - range.begin) * PANEL * PANEL)
    for (int64_t block = 0; block < blocks_of(cell, units); block++)
      for (int qv = 0; qv < 2 * panel_count(cell); qv++) {
        struct place place = place_of(cell, units, block, qv / 2, qv % 2, gates);
        int64_t panel = panel_of(cell, units, block, qv / 2);
        if (!is_in(range, panel)) continue;
        float *to = packed + ((panel - range.begin) * PANEL + qv % 2 * LANES) * PANEL;
        /* Rows of a matrix lie a power of two apart, in the same set of the cache, so they are copied first. */
        float square[PANEL][LANES + 1];
        for (int64_t row = 0; row < PANEL; row++) {
          int is_there = begin + row < depth && place.lanes;
          store(square[row], is_there ? load_at(matrix + (begin + row) * gates * units, place) : broadcast(0));
        }
        for (int64_t lane = 0; lane < LANES; lane++)
          for (int64_t row = 0; row < PANEL; row++) to[lane * PANEL + row] = square[row][lane];
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
