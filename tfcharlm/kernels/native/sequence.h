/* The two passes over a sequence, for one kind of vectors. The file that includes this one defines

   LANES    numbers in a vector
   ROWS     rows of a product whose sums fit into the registers, 4, 6 or 12
   VARIANT  the name of the `struct variant` to define
   NAME     the same as a string

   Rows of the batch are rows here. Gradients are those of `tfcharlm.reference`. */

#include "vectors.h"
#include "product.h"
#include "cells.h"

/* Rows whose pre-activations are computed together: few enough to stay in the first cache beside a panel. */
enum { GROUP = 4 * ROWS };
/* Rows, of all steps together, of the products that need not wait for the step before. */
enum { TOGETHER = 512 };

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
  int64_t block = panel / panel_count(cell), gate = cell == RNN ? 0 : panel % 2 * 2 + v;
  int64_t unit = cell == RNN ? block * PANEL + v * LANES : block * LANES;
  struct place place = {gate * units + unit, smaller_of(LANES, units - unit)};
  if (place.lanes < 0) place.lanes = 0;
  return place;
}

INLINE vector load_at(const float *row, struct place place) { return load_some(row + place.column, place.lanes); }

/* (depth, G*H) -> [panel][depth][PANEL], with a row added to each */
INLINE void pack(enum cell cell, int64_t units, int64_t depth, const float *matrix, const float *added, float *packed) {
  int64_t width = block_count(cell) * units;
  for (int64_t panel = 0; panel < panels_of(cell, units); panel++)
    for (int64_t k = 0; k < depth; k++)
      for (int v = 0; v < 2; v++, packed += LANES) {
        struct place place = place_of(cell, units, panel, v);
        vector row = place.lanes ? load_at(matrix + k * width, place) : all(0);
        if (added && place.lanes) row += load_at(added, place);
        store(packed, row);
      }
}

/* [panel][depth of `stride` rows][PANEL] -> (depth, G*H) */
INLINE void unpack(enum cell cell, int64_t units, int64_t depth, int64_t stride, const float *packed, float *matrix) {
  int64_t width = block_count(cell) * units;
  for (int64_t panel = 0; panel < panels_of(cell, units); panel++)
    for (int64_t k = 0; k < depth; k++)
      for (int v = 0; v < 2; v++) {
        struct place place = place_of(cell, units, panel, v);
        const float *from = packed + (panel * stride + k) * PANEL + v * LANES;
        if (place.lanes) store_some(matrix + k * width + place.column, load(from), place.lanes);
      }
}

/* (depth, G*H) -> [panel of the depth][pre-activation in the order of the panels][PANEL]: what gradients of z meet */
INLINE void pack_transposed(enum cell cell, int64_t units, int64_t depth, const float *matrix, float *packed) {
  int64_t width = block_count(cell) * units;
  for (int64_t begin = 0; begin < depth; begin += PANEL)
    for (int64_t panel = 0; panel < panels_of(cell, units); panel++)
      for (int v = 0; v < 2; v++) {
        struct place place = place_of(cell, units, panel, v);
        memset(packed, 0, LANES * PANEL * sizeof(float));
        for (int64_t row = 0; row < smaller_of(PANEL, depth - begin); row++)
          for (int64_t lane = 0; lane < place.lanes; lane++)
            packed[lane * PANEL + row] = matrix[(begin + row) * width + place.column + lane];
        packed += LANES * PANEL;
      }
}

/* Rows (count, width), `stride` apart, for a product that adds over rows -> [tile of ROWS columns][count][ROWS] */
static void pack_rows(const float *const *rows, int64_t count, int64_t width, float *packed) {
  for (int64_t begin = 0; begin < width; begin += ROWS)
    for (int64_t r = 0; r < count; r++, packed += ROWS) {
      int64_t here = smaller_of(ROWS, width - begin);
      memcpy(packed, rows[r] + begin, here * sizeof(float));
      if (here < ROWS) memset(packed + here, 0, (ROWS - here) * sizeof(float));
    }
}

/* Steps that products take together. */
static int64_t steps_together(const struct sequence *s) {
  int64_t steps = TOGETHER / (s->batch > 0 ? s->batch : 1);
  return steps < 1 ? 1 : smaller_of(steps, s->steps > 0 ? s->steps : 1);
}

static int is_real(const struct sequence *s, int64_t b, int64_t t) {
  return !s->is_real || s->is_real[b * s->steps + t];
}

static int64_t saved_size(const struct sequence *s) {
  return s->steps * blocks_of(s->cell, s->units) * s->batch * saved_vectors(s->cell) * LANES;
}

/* A pass takes all its memory at once. */
struct memory {
  float *begin, *next;
};

static float *part(struct memory *memory, int64_t count) {
  float *begin = memory->next;
  memory->next += rounded_up(count, 16);
  return begin;
}

INLINE int forward_of(enum cell cell, const struct sequence *s, const struct results *to) {
  const int64_t batch = s->batch, steps = s->steps, units = s->units, blocks = blocks_of(cell, units);
  const int64_t panels = panels_of(cell, units), padded = blocks * unit_vectors(cell) * LANES;
  /* Rows that lie a power of two apart would share a set of the cache. */
  const int64_t stride = padded + LANES, together = steps_together(s), rows = together * batch;
  const int64_t x_stride = rounded_up(s->width, LANES) + LANES;
  const int64_t start_rows = s->ids ? s->width : rows;

  int64_t sizes[] = {panels * units * PANEL, panels * start_rows * PANEL, s->ids ? 0 : panels * s->width * PANEL,
                     s->ids ? 0 : rows * x_stride, batch * stride, batch * stride, batch * padded,
                     GROUP * panel_count(cell) * PANEL, panels * PANEL};
  struct memory memory;
  if (take_memory(sizes, sizeof sizes / sizeof *sizes, &memory.begin)) return -1;
  memory.next = memory.begin;
  float *recurrent = part(&memory, sizes[0]), *start = part(&memory, sizes[1]), *kernel = part(&memory, sizes[2]);
  float *x = part(&memory, sizes[3]), *h = part(&memory, sizes[4]), *next_h = part(&memory, sizes[5]);
  float *c = part(&memory, sizes[6]), *z = part(&memory, sizes[7]), *bias = part(&memory, sizes[8]);

  pack(cell, units, units, s->recurrent_kernel, NULL, recurrent);
  if (s->ids) pack(cell, units, s->width, s->kernel, s->bias, start);
  else pack(cell, units, s->width, s->kernel, NULL, kernel);
  if (!s->ids) {
    memset(bias, 0, sizes[8] * sizeof(float));
    if (s->bias) pack(cell, units, 1, s->bias, NULL, bias);
  }
  for (int64_t b = 0; b < batch; b++) {
    memcpy(h + b * stride, s->first[0] + b * units, units * sizeof(float));
    if (cell != RNN) {
      memset(c + b * padded, 0, padded * sizeof(float));
      memcpy(c + b * padded, s->first[1] + b * units, units * sizeof(float));
    }
  }

  float *saved = to->saved;
  for (int64_t t = 0; t < steps; t++) {
    int64_t in_turn = t % together;
    if (!s->ids && in_turn == 0) {
      int64_t here = smaller_of(together, steps - t);
      for (int64_t step = 0; step < here; step++)
        for (int64_t b = 0; b < batch; b++)
          memcpy(x + (step * batch + b) * x_stride, s->inputs + (b * steps + t + step) * s->width,
                 s->width * sizeof(float));
      struct operand left = {x, x_stride, 1, s->width, 1, 0};
      for (int64_t panel = 0; panel < panels; panel++) {
        float *to_start = start + panel * rows * PANEL;
        for (int64_t r = 0; r < here * batch; r++) memcpy(to_start + r * PANEL, bias + panel * PANEL, PANEL * 4);
        multiply(here * batch, left, kernel + panel * s->width * PANEL, to_start, PANEL);
      }
    }
    for (int64_t block = 0; block < blocks; block++)
      for (int64_t group = 0; group < batch; group += GROUP) {
        int64_t count = smaller_of(GROUP, batch - group);
        for (int q = 0; q < panel_count(cell); q++) {
          int64_t panel = block * panel_count(cell) + q;
          float *sums = z + q * GROUP * PANEL;
          const float *from = start + panel * start_rows * PANEL;
          for (int64_t b = 0; b < count; b++) {
            int64_t row = s->ids ? s->ids[(group + b) * steps + t] : in_turn * batch + group + b;
            memcpy(sums + b * PANEL, from + row * PANEL, PANEL * sizeof(float));
          }
          struct operand left = {h + group * stride, stride, 1, units, 1, 0};
          multiply(count, left, recurrent + panel * units * PANEL, sums, PANEL);
        }
        for (int64_t b = group; b < group + count; b++) {
          int64_t unit = block * unit_vectors(cell) * LANES;
          vector zs[MOST_VECTORS], hs[2], cs = all(0), kept[MOST_SAVED];
          for (int v = 0; v < 2 * panel_count(cell); v++)
            zs[v] = load(z + v / 2 * GROUP * PANEL + (b - group) * PANEL + v % 2 * LANES);
          if (cell != RNN) cs = load(c + b * padded + unit);
          int real = is_real(s, b, t);
          vector before = cs;
          step_forward(cell, zs, hs, &cs, kept);
          if (!real) {
            cs = before;
            for (int v = 0; v < unit_vectors(cell); v++) hs[v] = load(h + b * stride + unit + v * LANES);
          }
          if (cell != RNN) store(c + b * padded + unit, cs);
          for (int v = 0; v < unit_vectors(cell); v++) {
            store(next_h + b * stride + unit + v * LANES, hs[v]);
            int64_t lanes = units - unit - v * LANES;
            if (lanes > 0) store_some(to->outputs + (b * steps + t) * units + unit + v * LANES, hs[v], lanes);
          }
          if (saved && cell != RNN) {
            kept[4] = cs;
            for (int v = 0; v < saved_vectors(cell); v++) store(saved + v * LANES, kept[v]);
            saved += saved_vectors(cell) * LANES;
          }
        }
      }
    float *other = h;
    h = next_h, next_h = other;
  }
  for (int64_t b = 0; b < batch; b++) {
    memcpy(to->last[0] + b * units, h + b * stride, units * sizeof(float));
    if (cell != RNN) memcpy(to->last[1] + b * units, c + b * padded, units * sizeof(float));
  }
  give_memory(memory.begin);
  return 0;
}

INLINE int backward_of(enum cell cell, const struct sequence *s, const struct results *of, const struct gradients *d) {
  const int64_t batch = s->batch, steps = s->steps, units = s->units, blocks = blocks_of(cell, units);
  const int64_t panels = panels_of(cell, units), unit_panels = (units + PANEL - 1) / PANEL;
  const int64_t padded = rounded_up(blocks * unit_vectors(cell) * LANES, PANEL), stride = padded + LANES;
  const int64_t together = steps_together(s), rows = together * batch, depth = panels * PANEL;
  const int64_t h_tiles = (units + ROWS - 1) / ROWS, x_tiles = s->ids ? 0 : (s->width + ROWS - 1) / ROWS;
  const int64_t x_panels = (s->width + PANEL - 1) / PANEL;
  const int64_t kernel_rows = s->ids ? s->width : x_tiles * ROWS;

  int64_t sizes[] = {unit_panels * depth * PANEL, d->inputs ? x_panels * depth * PANEL : 0, panels * rows * PANEL,
                     batch * stride, batch * stride, batch * padded,
                     panels * h_tiles * ROWS * PANEL, panels * kernel_rows * PANEL, panels * PANEL,
                     h_tiles * rows * ROWS, x_tiles * rows * ROWS, d->inputs ? rows * PANEL : 0, 2 * rows,
                     s->ids && s->width <= TOGETHER ? s->width * PANEL : 0};
  struct memory memory;
  if (take_memory(sizes, sizeof sizes / sizeof *sizes, &memory.begin)) return -1;
  memory.next = memory.begin;
  float *of_state = part(&memory, sizes[0]), *of_input = part(&memory, sizes[1]), *d_z = part(&memory, sizes[2]);
  float *d_h = part(&memory, sizes[3]), *passed = part(&memory, sizes[4]), *d_c = part(&memory, sizes[5]);
  float *d_recurrent = part(&memory, sizes[6]), *d_kernel = part(&memory, sizes[7]), *d_bias = part(&memory, sizes[8]);
  float *h_rows = part(&memory, sizes[9]), *x_rows = part(&memory, sizes[10]), *d_x = part(&memory, sizes[11]);
  const float **pointers = (const float **)part(&memory, sizes[12]);
  float *of_symbols = part(&memory, sizes[13]);

  pack_transposed(cell, units, units, s->recurrent_kernel, of_state);
  if (d->inputs) pack_transposed(cell, units, s->width, s->kernel, of_input);
  memset(d_recurrent, 0, sizes[6] * sizeof(float));
  memset(d_kernel, 0, sizes[7] * sizeof(float));
  memset(d_bias, 0, sizes[8] * sizeof(float));
  memset(d_h, 0, sizes[3] * sizeof(float));
  memset(d_c, 0, sizes[5] * sizeof(float));
  for (int64_t b = 0; b < batch; b++) {
    memcpy(d_h + b * stride, d->last[0] + b * units, units * sizeof(float));
    if (cell != RNN) memcpy(d_c + b * padded, d->last[1] + b * units, units * sizeof(float));
  }

  for (int64_t end = steps; end > 0;) {
    int64_t begin = (end - 1) / together * together, here = end - begin, count = here * batch;
    for (int64_t t = end - 1; t >= begin; t--) {
      const float *saved = of->saved + t * blocks * batch * saved_vectors(cell) * LANES;
      const float *earlier = saved - blocks * batch * saved_vectors(cell) * LANES;
      float *d_z_now = d_z + (t - begin) * batch * PANEL;
      for (int64_t block = 0; block < blocks; block++)
        for (int64_t b = 0; b < batch; b++) {
          int64_t unit = block * unit_vectors(cell) * LANES, at = (block * batch + b) * saved_vectors(cell) * LANES;
          vector d_hs[2], hs[2] = {all(0), all(0)}, kept[MOST_SAVED], d_zs[MOST_VECTORS];
          vector d_cs = all(0), before = all(0);
          for (int v = 0; v < unit_vectors(cell); v++) {
            int64_t lanes = units - unit - v * LANES, from = (b * steps + t) * units + unit + v * LANES;
            d_hs[v] = load(d_h + b * stride + unit + v * LANES);
            if (lanes <= 0) continue;
            d_hs[v] += load_some(d->outputs + from, lanes);
            if (cell == RNN) hs[v] = load_some(of->outputs + from, lanes);
          }
          if (cell != RNN) {
            for (int v = 0; v < saved_vectors(cell); v++) kept[v] = load(saved + at + v * LANES);
            d_cs = load(d_c + b * padded + unit);
            before = t > 0 ? load(earlier + at + 4 * LANES)
                           : load_some(s->first[1] + b * units + unit, units - unit);
          }
          int real = is_real(s, b, t);
          if (real) {
            step_backward(cell, d_hs, &d_cs, kept, hs, before, d_zs);
            if (cell != RNN) store(d_c + b * padded + unit, d_cs);
          }
          for (int v = 0; v < 2 * panel_count(cell); v++) {
            int64_t panel = block * panel_count(cell) + v / 2;
            struct place place = place_of(cell, units, panel, v % 2);
            float *to = d_z_now + panel * rows * PANEL + b * PANEL + v % 2 * LANES;
            /* The lanes beyond the last unit may hold anything; the products would spread it. */
            if (!real) store(to, all(0));
            else if (place.lanes == LANES) store(to, d_zs[v]);
            else {
              store(to, all(0));
              memcpy(to, &d_zs[v], place.lanes * sizeof(float));
            }
          }
          for (int v = 0; v < unit_vectors(cell); v++) {
            store(d_h + b * stride + unit + v * LANES, all(0));
            if (!real) store(passed + b * stride + unit + v * LANES, d_hs[v]);
          }
        }
      struct operand left = {d_z_now, PANEL, 1, PANEL, panels, rows * PANEL};
      for (int64_t panel = 0; panel < unit_panels; panel++)
        multiply(batch, left, of_state + panel * depth * PANEL, d_h + panel * PANEL, stride);
      if (s->is_real)
        for (int64_t b = 0; b < batch; b++)
          if (!is_real(s, b, t)) memcpy(d_h + b * stride, passed + b * stride, units * sizeof(float));
    }

    for (int64_t t = begin; t < end; t++)
      for (int64_t b = 0; b < batch; b++)
        pointers[(t - begin) * batch + b] =
            t > 0 ? of->outputs + (b * steps + t - 1) * units : s->first[0] + b * units;
    pack_rows(pointers, count, units, h_rows);
    if (!s->ids) {
      for (int64_t t = begin; t < end; t++)
        for (int64_t b = 0; b < batch; b++)
          pointers[(t - begin) * batch + b] = s->inputs + (b * steps + t) * s->width;
      pack_rows(pointers, count, s->width, x_rows);
    }
    for (int64_t panel = 0; panel < panels; panel++) {
      const float *right = d_z + panel * rows * PANEL;
      for (int64_t tile = 0; tile < h_tiles; tile++) {
        struct operand left = {h_rows + tile * count * ROWS, 1, ROWS, count, 1, 0};
        multiply_tile(ROWS, left, right, d_recurrent + (panel * h_tiles + tile) * ROWS * PANEL, PANEL);
      }
      for (int64_t tile = 0; tile < x_tiles; tile++) {
        struct operand left = {x_rows + tile * count * ROWS, 1, ROWS, count, 1, 0};
        multiply_tile(ROWS, left, right, d_kernel + (panel * x_tiles + tile) * ROWS * PANEL, PANEL);
      }
      vector sum[2] = {all(0), all(0)};
      for (int64_t r = 0; r < count; r++) {
        sum[0] += load(right + r * PANEL);
        sum[1] += load(right + r * PANEL + LANES);
      }
      store(d_bias + panel * PANEL, load(d_bias + panel * PANEL) + sum[0]);
      store(d_bias + panel * PANEL + LANES, load(d_bias + panel * PANEL + LANES) + sum[1]);
      if (s->ids) {
        /* The rows of each symbol are added up first, unless there are more symbols than rows. */
        float *total = d_kernel + panel * s->width * PANEL, *to = s->width <= TOGETHER ? of_symbols : total;
        if (to != total) memset(to, 0, s->width * PANEL * sizeof(float));
        for (int64_t t = begin, r = 0; t < end; t++)
          for (int64_t b = 0; b < batch; b++, r++) {
            float *row = to + s->ids[b * steps + t] * PANEL;
            store(row, load(row) + load(right + r * PANEL));
            store(row + LANES, load(row + LANES) + load(right + r * PANEL + LANES));
          }
        for (int64_t i = 0; to != total && i < s->width * PANEL; i += LANES)
          store(total + i, load(total + i) + load(to + i));
      }
    }
    if (d->inputs)
      for (int64_t panel = 0; panel < x_panels; panel++) {
        memset(d_x, 0, count * PANEL * sizeof(float));
        struct operand left = {d_z, PANEL, 1, PANEL, panels, rows * PANEL};
        multiply(count, left, of_input + panel * depth * PANEL, d_x, PANEL);
        int64_t numbers = smaller_of(PANEL, s->width - panel * PANEL);
        for (int64_t r = 0; r < count; r++)
          memcpy(d->inputs + (r % batch * steps + begin + r / batch) * s->width + panel * PANEL, d_x + r * PANEL,
                 numbers * sizeof(float));
      }
    end = begin;
  }

  unpack(cell, units, units, h_tiles * ROWS, d_recurrent, d->recurrent_kernel);
  unpack(cell, units, s->width, kernel_rows, d_kernel, d->kernel);
  if (d->bias) unpack(cell, units, 1, 1, d_bias, d->bias);
  for (int64_t b = 0; b < batch; b++) {
    memcpy(d->first[0] + b * units, d_h + b * stride, units * sizeof(float));
    if (cell != RNN) memcpy(d->first[1] + b * units, d_c + b * padded, units * sizeof(float));
  }
  give_memory(memory.begin);
  return 0;
}

static int forward(const struct sequence *s, const struct results *to) {
  switch (s->cell) {
    case RNN: return forward_of(RNN, s, to);
    case LSTM: return forward_of(LSTM, s, to);
    default: return forward_of(CAPPED_LSTM, s, to);
  }
}

static int backward(const struct sequence *s, const struct results *of, const struct gradients *d) {
  switch (s->cell) {
    case RNN: return backward_of(RNN, s, of, d);
    case LSTM: return backward_of(LSTM, s, of, d);
    default: return backward_of(CAPPED_LSTM, s, of, d);
  }
}

const struct variant VARIANT = {NAME, LANES, saved_size, forward, backward};
