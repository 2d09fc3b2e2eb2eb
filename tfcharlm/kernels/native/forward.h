/* The forward pass. */

INLINE int forward_of(enum cell cell, const struct sequence *s, const struct results *to) {
  const int64_t batch = s->batch, steps = s->steps, units = s->units, blocks = blocks_of(cell, units);
  const int64_t panels = panels_of(cell, units), padded = blocks * unit_vectors(cell) * LANES;
  const struct range of_state = state_panels(cell, units), of_input = input_panels(cell, units);
  /* Rows that lie a power of two apart would share a set of the cache. */
  const int64_t stride = padded + LANES, together = steps_together(s), rows = together * batch;
  const int64_t x_stride = rounded_up(s->width, LANES) + LANES;
  /* What the pre-activations of a step start from: a row for each symbol, or for each row and step together. */
  const int64_t start_rows = s->ids ? s->width : rows;

  float *recurrent, *start, *kernel, *x, *h, *next_h, *c, *z, *bias;
  const struct part parts[] = {
      {&recurrent, panels * units * PANEL},
      {&start, panels * start_rows * PANEL},
      {&kernel, s->ids ? 0 : panels * s->width * PANEL},
      {&x, s->ids ? 0 : rows * x_stride},
      {&h, batch * stride},
      {&next_h, batch * stride},
      {&c, batch * padded},
      {&z, GROUP * panel_count(cell) * PANEL},
      {&bias, panels * PANEL},
  };
  if (take_memory(parts, sizeof parts / sizeof *parts)) return -1;

  pack(cell, units, units, s->recurrent_kernel, of_state, NULL, recurrent);
  if (s->ids) pack(cell, units, s->width, s->kernel, of_input, s->bias, start);
  else {
    pack(cell, units, s->width, s->kernel, of_input, NULL, kernel);
    pack(cell, units, 1, NULL, (struct range){0, 0}, s->bias, bias);
  }
  for (int64_t b = 0; b < batch; b++) {
    memcpy(h + b * stride, s->initial_states[0] + b * units, units * sizeof(float));
    if (has_c(cell)) {
      memset(c + b * padded, 0, padded * sizeof(float));
      memcpy(c + b * padded, s->initial_states[1] + b * units, units * sizeof(float));
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
      struct operand left = {x, x_stride, 1};
      for (int64_t panel = 0; panel < panels; panel++) {
        float *to_start = start + panel * rows * PANEL;
        for (int64_t r = 0; r < here * batch; r++)
          memcpy(to_start + r * PANEL, bias + panel * PANEL, PANEL * sizeof(float));
        if (is_in(of_input, panel))
          multiply(here * batch, left, s->width, kernel + panel * s->width * PANEL, to_start, PANEL);
      }
    }
    for (int64_t block = 0; block < blocks; block++)
      for (int64_t group = 0; group < batch; group += GROUP) {
        int64_t count = smaller_of(GROUP, batch - group), unit = block * unit_vectors(cell) * LANES;
        for (int q = 0; q < panel_count(cell); q++) {
          int64_t panel = panel_of(cell, units, block, q);
          float *sums = z + q * GROUP * PANEL;
          const float *from = start + panel * start_rows * PANEL;
          for (int64_t b = 0; b < count; b++) {
            int64_t row = s->ids ? s->ids[(group + b) * steps + t] : in_turn * batch + group + b;
            memcpy(sums + b * PANEL, from + row * PANEL, PANEL * sizeof(float));
          }
          struct operand left = {h + group * stride, stride, 1};
          if (is_in(of_state, panel)) multiply(count, left, units, recurrent + panel * units * PANEL, sums, PANEL);
        }
        for (int64_t b = group; b < group + count; b++) {
          vector zs[MOST_VECTORS], hs[MOST_UNIT_VECTORS], cs = broadcast(0), saved_here[MOST_SAVED];
          for (int v = 0; v < 2 * panel_count(cell); v++)
            zs[v] = load(z + v / 2 * GROUP * PANEL + (b - group) * PANEL + v % 2 * LANES);
          if (has_c(cell)) cs = load(c + b * padded + unit);
          for (int v = 0; passes_h(cell) && v < unit_vectors(cell); v++)
            hs[v] = load(h + b * stride + unit + v * LANES);
          vector before = cs;
          step_forward(cell, zs, hs, &cs, saved_here);
          if (!is_real(s, b, t)) {
            cs = before;
            for (int v = 0; v < unit_vectors(cell); v++) hs[v] = load(h + b * stride + unit + v * LANES);
          }
          if (has_c(cell)) store(c + b * padded + unit, cs);
          for (int v = 0; v < unit_vectors(cell); v++) {
            store(next_h + b * stride + unit + v * LANES, hs[v]);
            int64_t lanes = units - unit - v * LANES;
            float *output = to->outputs + (b * steps + t) * units + unit + v * LANES;
            if (lanes > 0) store_some(output, hs[v], lanes);
            fetch_to_write(output + unit_vectors(cell) * LANES, 1);
          }
          if (saved && saved_vectors(cell)) {
            if (has_c(cell)) saved_here[4] = cs;
            for (int v = 0; v < saved_vectors(cell); v++) store(saved + v * LANES, saved_here[v]);
            saved += saved_vectors(cell) * LANES;
            fetch_to_write(saved + count * saved_vectors(cell) * LANES, saved_vectors(cell));
          }
          /* What the next block of units starts from. */
          for (int q = 0; s->ids && q < panel_count(cell); q++) {
            const float *from = start + panel_of(cell, units, block + 1, q) * start_rows * PANEL;
            fetch(from + s->ids[b * steps + t] * (int64_t)PANEL, FETCHING);
          }
        }
      }
    float *other = h;
    h = next_h, next_h = other;
  }
  for (int64_t b = 0; b < batch; b++) {
    memcpy(to->final_states[0] + b * units, h + b * stride, units * sizeof(float));
    if (has_c(cell)) memcpy(to->final_states[1] + b * units, c + b * padded, units * sizeof(float));
  }
  give_memory(recurrent);
  return 0;
}
