/* The backward pass. Going back in time, it takes `together` steps at once: first what each step needs of the one after
   it, then the products that need not wait, whose sums are gradients of matrices. */

struct backward {
  const struct sequence *s;
  const struct results *of;
  const struct gradients *d;
  int64_t together;       /* steps of a turn */
  int64_t panels;         /* of pre-activations */
  struct range state_panels, input_panels;
  int64_t panel_size, row_stride, stride;
  float *of_state, *of_input;       /* the matrices, transposed */
  float *d_z;                       /* (panel, rows of a turn, PANEL): the right factor of gradients of matrices */
  float *d_z_rows;                  /* (rows, panels * PANEL): the left factor of gradients of states and inputs */
  float *d_h, *d_c; /* (batch, units): of the states after a step, then before it */
  float *passed;    /* (batch, units): what of d_h goes around the products: all in padding */
  float *d_recurrent, *d_kernel, *d_bias;
  float *h_rows, *x_rows, *d_x, *of_symbols;
  const float **pointers;
};

/* Where the gradients of the pre-activations of step t begin as rows: of the whole turn if the inputs need a gradient,
   else of this step and the one before. */
INLINE float *rows_of_step(const struct backward *w, int64_t t) {
  return w->d_z_rows + (w->d->inputs ? t % w->together : t % 2) * w->s->batch * w->row_stride;
}

/* One block of units of step t: from gradients of the states after it to those of its pre-activations. */
INLINE void backward_block(enum cell cell, const struct backward *w, int64_t t, int64_t block) {
  const struct sequence *s = w->s;
  const int64_t batch = s->batch, units = s->units, unit = block * unit_vectors(cell) * LANES;
  const int64_t numbers = saved_vectors(cell) * LANES, of_step = blocks_of(cell, units) * batch * numbers;
  const float *saved = w->of->saved + t * of_step + block * batch * numbers;
  float *d_z = w->d_z + t % w->together * batch * PANEL, *row = rows_of_step(w, t);
  int64_t lanes[MOST_VECTORS], panels[MOST_VECTORS];
  for (int v = 0; v < 2 * panel_count(cell); v++) {
    lanes[v] = place_of(cell, units, block, v / 2, v % 2, bias_blocks(cell)).lanes;
    panels[v] = panel_of(cell, units, block, v / 2);
  }
  for (int64_t b = 0; b < batch; b++, saved += numbers, row += w->row_stride) {
    vector d_hs[MOST_UNIT_VECTORS], hs[MOST_UNIT_VECTORS] = {broadcast(0), broadcast(0)}, d_zs[MOST_VECTORS];
    vector saved_here[MOST_SAVED], d_cs = broadcast(0), before[MOST_UNIT_VECTORS] = {broadcast(0), broadcast(0)};
    float *d_h = w->d_h + b * w->stride + unit, *d_c = w->d_c + b * w->stride + unit;
    for (int v = 0; v < unit_vectors(cell); v++) {
      int64_t there = units - unit - v * LANES, from = (b * s->steps + t) * units + unit + v * LANES;
      d_hs[v] = load(d_h + v * LANES);
      if (there <= 0) continue;
      d_hs[v] += load_some(w->d->outputs + from, there);
      fetch(w->d->outputs + from + unit_vectors(cell) * LANES, 1);
      if (saved_vectors(cell)) continue;
      hs[v] = load_some(w->of->outputs + from, there);
      fetch(w->of->outputs + from + unit_vectors(cell) * LANES, 1);
    }
    for (int v = 0; v < saved_vectors(cell); v++) saved_here[v] = load(saved + v * LANES);
    if (passes_h(cell)) {
      const float *last = t > 0 ? w->of->outputs + (b * s->steps + t - 1) * units : s->initial_states[0] + b * units;
      for (int v = 0; v < unit_vectors(cell); v++)
        if (lanes[v] > 0) before[v] = load_some(last + unit + v * LANES, lanes[v]);
      fetch(saved + batch * numbers, saved_vectors(cell));
    }
    if (has_c(cell)) {
      d_cs = load(d_c);
      before[0] = t > 0 ? load(saved - of_step + 4 * LANES)
                        : load_some(s->initial_states[1] + b * units + unit, units - unit);
      fetch(saved + batch * numbers, saved_vectors(cell));
      if (t > 0) fetch(saved + batch * numbers - of_step + 4 * LANES, 1);
    }
    int real = is_real(s, b, t);
    if (real) {
      step_backward(cell, d_hs, &d_cs, saved_here, hs, before, d_zs);
      if (has_c(cell)) store(d_c, d_cs);
    }
    for (int v = 0; (!real || passes_h(cell)) && v < unit_vectors(cell); v++)
      store(w->passed + b * w->stride + unit + v * LANES, d_hs[v]);
    for (int v = 0; v < 2 * panel_count(cell); v++) {
      /* The lanes beyond the last unit may hold anything; the products would spread it. */
      vector d_z_here = broadcast(0);
      if (real && lanes[v] == LANES) d_z_here = d_zs[v];
      else if (real) memcpy(&d_z_here, &d_zs[v], lanes[v] * sizeof(float));
      store(d_z + panels[v] * w->panel_size + b * PANEL + v % 2 * LANES, d_z_here);
      store(row + panels[v] * PANEL + v % 2 * LANES, d_z_here);
    }
  }
}

/* The gradient of h before step t; and, while they are in the cache, what step t - 1 makes of the same units. */
INLINE void backward_step(enum cell cell, const struct backward *w, int64_t t, int continues) {
  const int64_t batch = w->s->batch, blocks = blocks_of(cell, w->s->units), stride = w->stride;
  const int64_t blocks_in_panel = PANEL / (unit_vectors(cell) * LANES);
  const struct range of_state = w->state_panels;
  const int64_t depth = (of_state.end - of_state.begin) * PANEL;
  struct operand left = {rows_of_step(w, t) + of_state.begin * PANEL, w->row_stride, 1};
  for (int64_t panel = 0; panel * PANEL < w->s->units; panel++) {
    float *d_h = w->d_h + panel * PANEL, *passed = w->passed + panel * PANEL;
    for (int64_t b = 0; b < batch; b++)
      if (passes_h(cell)) memcpy(d_h + b * stride, passed + b * stride, PANEL * sizeof(float));
      else memset(d_h + b * stride, 0, PANEL * sizeof(float));
    multiply(batch, left, depth, w->of_state + panel * depth * PANEL, d_h, stride);
    for (int64_t b = 0; w->s->is_real && b < batch; b++)
      if (!is_real(w->s, b, t)) memcpy(d_h + b * stride, passed + b * stride, PANEL * sizeof(float));
    for (int64_t block = panel * blocks_in_panel; continues && block < (panel + 1) * blocks_in_panel; block++)
      if (block < blocks) backward_block(cell, w, t - 1, block);
  }
}

/* sums (tiles of ROWS, PANEL) += columns of left, packed by `pack_rows` . right (count, PANEL) */
INLINE void add_product(int64_t tiles, int64_t count, const float *left, int64_t begin, int64_t piece,
                        const float *right, float *sums) {
  for (int64_t tile = 0; tile < tiles; tile++) {
    struct operand columns = {left + (tile * count + begin) * ROWS, 1, ROWS};
    multiply_tile[ROWS](columns, piece, right, right + piece * PANEL + tile % FETCHING * piece * LINE,
                        sums + tile * ROWS * PANEL, PANEL);
  }
}

/* sum (PANEL) += the rows of (count, PANEL) */
INLINE void add_rows(int64_t count, const float *rows, float *sum) {
  vector first = broadcast(0), second = broadcast(0);
  for (int64_t r = 0; r < count; r++) first += load(rows + r * PANEL), second += load(rows + r * PANEL + LANES);
  store(sum, load(sum) + first);
  store(sum + LANES, load(sum + LANES) + second);
}

/* to[row] += from[row], from[row] = 0 */
INLINE void move_row(float *from, float *to, int64_t row) {
  for (float *sum = from + row * PANEL, *end = sum + PANEL; sum < end; sum += LANES) {
    store(to + (sum - from), load(to + (sum - from)) + load(sum));
    store(sum, broadcast(0));
  }
}

/* total (V, PANEL) += rows of (count, PANEL), each to the row of its id. The rows of a turn are added up first. */
INLINE void add_symbols(const struct backward *w, int64_t begin, int64_t end, const float *rows, float *total) {
  const struct sequence *s = w->s;
  for (int64_t t = begin; t < end; t++)
    for (int64_t b = 0; b < s->batch; b++, rows += PANEL) {
      float *sum = w->of_symbols + s->ids[b * s->steps + t] * (int64_t)PANEL;
      store(sum, load(sum) + load(rows));
      store(sum + LANES, load(sum + LANES) + load(rows + LANES));
    }
  if (s->width <= (end - begin) * s->batch)
    for (int64_t symbol = 0; symbol < s->width; symbol++) move_row(w->of_symbols, total, symbol);
  else
    for (int64_t t = begin; t < end; t++)
      for (int64_t b = 0; b < s->batch; b++) move_row(w->of_symbols, total, s->ids[b * s->steps + t]);
}

/* The gradients of the matrices and the bias from the steps of a turn, `count` rows. */
INLINE void add_gradients(const struct backward *w, int64_t begin, int64_t end, int64_t h_tiles, int64_t x_tiles) {
  const struct sequence *s = w->s;
  const int64_t batch = s->batch, steps = s->steps, units = s->units, count = (end - begin) * batch;
  for (int64_t t = begin, r = 0; t < end; t++)
    for (int64_t b = 0; b < batch; b++, r++)
      w->pointers[r] = t > 0 ? w->of->outputs + (b * steps + t - 1) * units : s->initial_states[0] + b * units;
  pack_rows(w->pointers, count, units, w->h_rows);
  if (!s->ids) {
    for (int64_t t = begin, r = 0; t < end; t++)
      for (int64_t b = 0; b < batch; b++, r++) w->pointers[r] = s->inputs + (b * steps + t) * s->width;
    pack_rows(w->pointers, count, s->width, w->x_rows);
  }
  for (int64_t panel = 0; panel < w->panels; panel++) {
    const float *right = w->d_z + panel * w->panel_size;
    for (int64_t r = 0; r < count; r += PIECE) {
      int64_t piece = smaller_of(PIECE, count - r);
      if (is_in(w->state_panels, panel))
        add_product(h_tiles, count, w->h_rows, r, piece, right + r * PANEL,
                    w->d_recurrent + panel * h_tiles * ROWS * PANEL);
      if (is_in(w->input_panels, panel))
        add_product(x_tiles, count, w->x_rows, r, piece, right + r * PANEL,
                    w->d_kernel + panel * x_tiles * ROWS * PANEL);
    }
    if (!s->ids) {
      add_rows(count, right, w->d_bias + panel * PANEL);
      continue;
    }
    add_symbols(w, begin, end, right, w->d_kernel + panel * s->width * PANEL);
  }
}

/* The gradients of the inputs of a turn. */
INLINE void input_gradients(const struct backward *w, int64_t begin, int64_t end) {
  const struct sequence *s = w->s;
  const struct range of_input = w->input_panels;
  const int64_t batch = s->batch, count = (end - begin) * batch, depth = (of_input.end - of_input.begin) * PANEL;
  for (int64_t panel = 0; panel * PANEL < s->width; panel++) {
    memset(w->d_x, 0, count * PANEL * sizeof(float));
    struct operand left = {w->d_z_rows + of_input.begin * PANEL, w->row_stride, 1};
    multiply(count, left, depth, w->of_input + panel * depth * PANEL, w->d_x, PANEL);
    int64_t numbers = smaller_of(PANEL, s->width - panel * PANEL);
    for (int64_t r = 0; r < count; r++)
      memcpy(w->d->inputs + (r % batch * s->steps + begin + r / batch) * s->width + panel * PANEL, w->d_x + r * PANEL,
             numbers * sizeof(float));
  }
}

INLINE int backward_of(enum cell cell, const struct sequence *s, const struct results *of, const struct gradients *d) {
  const int64_t batch = s->batch, units = s->units, blocks = blocks_of(cell, units), panels = panels_of(cell, units);
  const int64_t depth = panels * PANEL;
  const int64_t unit_panels = (units + PANEL - 1) / PANEL, x_panels = (s->width + PANEL - 1) / PANEL;
  const int64_t h_tiles = (units + ROWS - 1) / ROWS, x_tiles = s->ids ? 0 : (s->width + ROWS - 1) / ROWS;
  const int64_t kernel_rows = s->ids ? s->width : x_tiles * ROWS;
  const int64_t together = steps_together(s), rows = together * batch;
  /* Panels and rows that lie a power of two apart would share a set of the cache. */
  const int64_t stride = rounded_up(blocks * unit_vectors(cell) * LANES, PANEL) + LANES;
  struct backward w = {.s = s, .of = of, .d = d, .together = together, .panels = panels,
                       .state_panels = state_panels(cell, units), .input_panels = input_panels(cell, units),
                       .panel_size = (rows + 1) * PANEL, .row_stride = depth + LANES, .stride = stride};
  float *pointers;
  const struct part parts[] = {
      {&w.of_state, unit_panels * depth * PANEL},
      {&w.of_input, d->inputs ? x_panels * depth * PANEL : 0},
      {&w.d_z, panels * w.panel_size},
      {&w.d_z_rows, (d->inputs ? rows : 2 * batch) * w.row_stride},
      {&w.d_h, batch * stride},
      {&w.passed, batch * stride},
      {&w.d_c, batch * stride},
      {&w.d_recurrent, panels * h_tiles * ROWS * PANEL},
      {&w.d_kernel, panels * kernel_rows * PANEL},
      {&w.d_bias, panels * PANEL},
      {&w.h_rows, h_tiles * rows * ROWS},
      {&w.x_rows, x_tiles * rows * ROWS},
      {&w.d_x, d->inputs ? rows * PANEL : 0},
      {&w.of_symbols, s->ids ? s->width * PANEL : 0},
      {&pointers, 2 * rows}, /* an address is at most two numbers long */
  };
  if (take_memory(parts, sizeof parts / sizeof *parts)) return -1;
  w.pointers = (const float **)pointers;

  pack_transposed(cell, units, units, s->recurrent_kernel, w.state_panels, w.of_state);
  if (d->inputs) pack_transposed(cell, units, s->width, s->kernel, w.input_panels, w.of_input);
  memset(w.d_recurrent, 0, panels * h_tiles * ROWS * PANEL * sizeof(float));
  memset(w.d_kernel, 0, panels * kernel_rows * PANEL * sizeof(float));
  memset(w.d_bias, 0, panels * PANEL * sizeof(float));
  if (s->ids) memset(w.of_symbols, 0, s->width * PANEL * sizeof(float));
  memset(w.d_h, 0, batch * stride * sizeof(float));
  memset(w.d_c, 0, batch * stride * sizeof(float));
  for (int64_t b = 0; b < batch; b++) {
    memcpy(w.d_h + b * stride, d->final_states[0] + b * units, units * sizeof(float));
    if (has_c(cell)) memcpy(w.d_c + b * stride, d->final_states[1] + b * units, units * sizeof(float));
  }

  for (int64_t end = s->steps, begin; end > 0; end = begin) {
    begin = (end - 1) / together * together;
    for (int64_t block = 0; block < blocks; block++) backward_block(cell, &w, end - 1, block);
    for (int64_t t = end - 1; t >= begin; t--) backward_step(cell, &w, t, t > begin);
    add_gradients(&w, begin, end, h_tiles, x_tiles);
    if (d->inputs) input_gradients(&w, begin, end);
  }

  /* The bias is in the row of every symbol. */
  for (int64_t panel = 0; s->ids && panel < panels; panel++)
    add_rows(s->width, w.d_kernel + panel * kernel_rows * PANEL, w.d_bias + panel * PANEL);
  const int gates = block_count(cell);
  unpack(cell, units, units, h_tiles * ROWS, w.d_recurrent, w.state_panels, gates, d->recurrent_kernel);
  unpack(cell, units, s->width, kernel_rows, w.d_kernel, w.input_panels, gates, d->kernel);
  if (d->bias) unpack(cell, units, 1, 1, w.d_bias, (struct range){0, panels}, bias_blocks(cell), d->bias);
  for (int64_t b = 0; b < batch; b++) {
    memcpy(d->initial_states[0] + b * units, w.d_h + b * stride, units * sizeof(float));
    if (has_c(cell)) memcpy(d->initial_states[1] + b * units, w.d_c + b * stride, units * sizeof(float));
  }
  give_memory(w.of_state);
  return 0;
}
