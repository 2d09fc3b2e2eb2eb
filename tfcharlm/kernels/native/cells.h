/* What a step of each cell computes between its matrix products.

   A block of units is LANES units of an LSTM, whose four gates are the four vectors of two panels. It is 2 * LANES
   units of an RNN, the two vectors of one panel. It is as many of a GRU, which has four panels in a block: its gates z
   and r, and the parts of the candidate that come from the input and from the state, because the reset gate multiplies
   only the second one. */

enum { MOST_UNIT_VECTORS = 2, MOST_VECTORS = 8, MOST_SAVED = 8 };

/* vectors of one state in a block of units */
INLINE int unit_vectors(enum cell cell) { return cell == RNN || cell == GRU ? 2 : 1; }
/* panels of pre-activations in a block */
INLINE int panel_count(enum cell cell) { return cell == RNN ? 1 : cell == GRU ? 4 : 2; }
/* i, f, g, o and c after the step; z, r, g and the part of the candidate from the state */
INLINE int saved_vectors(enum cell cell) { return cell == RNN ? 0 : cell == GRU ? 8 : 5; }
INLINE int passes_h(enum cell cell) { return cell == GRU; } /* whether h enters a step beside the products, too */

INLINE vector smaller(vector x, vector bound) { return choose(x > bound, bound, x); }

/* The states after the step, from the pre-activations z. h is (unit_vectors), c is a vector: before the step, and then
   after it. h before the step is there if the cell passes it. */
INLINE void step_forward(enum cell cell, const vector *z, vector *h, vector *c, vector *saved) {
  if (cell == RNN) {
    h[0] = hyperbolic_tangent(z[0]);
    h[1] = hyperbolic_tangent(z[1]);
    return;
  }
  if (cell == GRU) {
    for (int v = 0; v < 2; v++) {
      vector update = logistic(z[v]), reset = logistic(z[2 + v]);
      vector candidate = hyperbolic_tangent(z[4 + v] + reset * z[6 + v]);
      h[v] = candidate + update * (h[v] - candidate);
      saved[v] = update, saved[2 + v] = reset, saved[4 + v] = candidate, saved[6 + v] = z[6 + v];
    }
    return;
  }
  vector i = logistic(z[0]), f = logistic(z[1]), g = hyperbolic_tangent(z[2]), o = logistic(z[3]);
  vector admitted = cell == CAPPED_LSTM ? smaller(i, 1.0f - f) : i;
  *c = f * *c + admitted * g;
  h[0] = o * hyperbolic_tangent(*c);
  saved[0] = i, saved[1] = f, saved[2] = g, saved[3] = o;
}

/* The gradient of z, from that of the states after the step. d_c is the gradient of c after the step and then of c
   before it; d_h likewise, but of h before the step only what does not go through z. `before` is c before the step, or
   h if the cell passes it. */
INLINE void step_backward(enum cell cell, vector *d_h, vector *d_c, const vector *saved, const vector *h,
                          const vector *before, vector *d_z) {
  if (cell == RNN) {
    d_z[0] = d_h[0] * (1.0f - h[0] * h[0]);
    d_z[1] = d_h[1] * (1.0f - h[1] * h[1]);
    return;
  }
  if (cell == GRU) {
    for (int v = 0; v < 2; v++) {
      vector update = saved[v], reset = saved[2 + v], candidate = saved[4 + v];
      vector d_candidate = d_h[v] * (1.0f - update) * (1.0f - candidate * candidate);
      d_z[v] = d_h[v] * (before[v] - candidate) * update * (1.0f - update);
      d_z[2 + v] = d_candidate * saved[6 + v] * reset * (1.0f - reset);
      d_z[4 + v] = d_candidate;
      d_z[6 + v] = d_candidate * reset;
      d_h[v] *= update;
    }
    return;
  }
  vector i = saved[0], f = saved[1], g = saved[2], o = saved[3], t = hyperbolic_tangent(saved[4]);
  vector d = *d_c + d_h[0] * o * (1.0f - t * t);
  vector d_i = d * g, d_f = d * before[0], admitted = i;
  if (cell == CAPPED_LSTM) {
    /* Where i is capped, the forget gate sets the cap, so the gradient of the cap goes to f. */
    integers capped = i > 1.0f - f;
    admitted = choose(capped, 1.0f - f, i);
    d_f = choose(capped, d_f - d_i, d_f);
    d_i = choose(capped, broadcast(0.0f), d_i);
  }
  d_z[0] = d_i * i * (1.0f - i);
  d_z[1] = d_f * f * (1.0f - f);
  d_z[2] = d * admitted * (1.0f - g * g);
  d_z[3] = d_h[0] * t * o * (1.0f - o);
  *d_c = d * f;
}
