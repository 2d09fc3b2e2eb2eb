/* The two passes over a sequence, for one kind of vectors. The file that includes this one defines

   LANES    numbers in a vector
   ROWS     rows of a product whose sums fit into the registers, 6 or 12
   VARIANT  the name of the `struct variant` to define
   NAME     the same as a string

   Rows of the batch are rows here. Gradients are those of `tfcharlm.reference`. */

#include "vectors.h"
#include "product.h"
#include "cells.h"
#include "packing.h"

/* Rows whose pre-activations are computed together: few enough to stay in the first cache beside a panel. */
enum { GROUP = 4 * ROWS };
/* Rows, of all steps together, of the products that need not wait for the step before. */
enum { TOGETHER = 256 };

/* Steps that products take together. */
static int64_t steps_together(const struct sequence *s) {
  int64_t steps = TOGETHER / (s->batch > 0 ? s->batch : 1);
  return steps < 1 ? 1 : smaller_of(steps, s->steps > 0 ? s->steps : 1);
}

static int is_real(const struct sequence *s, int64_t b, int64_t t) {
  return !s->is_real || s->is_real[b * s->steps + t];
}

#include "forward.h"
#include "backward.h"

static int64_t saved_size(const struct sequence *s) {
  return s->steps * blocks_of(s->cell, s->units) * s->batch * saved_vectors(s->cell) * LANES;
}

static int forward(const struct sequence *s, const struct results *to) {
  switch (s->cell) {
    case RNN: return forward_of(RNN, s, to);
    case LSTM: return forward_of(LSTM, s, to);
    case GRU: return forward_of(GRU, s, to);
    default: return forward_of(CAPPED_LSTM, s, to);
  }
}

static int backward(const struct sequence *s, const struct results *of, const struct gradients *d) {
  switch (s->cell) {
    case RNN: return backward_of(RNN, s, of, d);
    case LSTM: return backward_of(LSTM, s, of, d);
    case GRU: return backward_of(GRU, s, of, d);
    default: return backward_of(CAPPED_LSTM, s, of, d);
  }
}

const struct variant VARIANT = {NAME, LANES, saved_size, forward, backward};
