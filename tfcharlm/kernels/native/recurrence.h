/* Recurrences over whole sequences, forward and backward, float32. Nothing in here knows TensorFlow.

   B is the number of rows of the batch, T the number of steps, D the size of an input, V the number of symbols, H the
   number of units, G the number of column blocks of a weight matrix: 1 for an RNN, 4 for an LSTM, 3 for a GRU. A bias
   has as many blocks. That of a GRU has 4, because the reset gate multiplies only what comes from the state: z, r, the
   candidate's of the input, and its of the state. Arrays are in the order of C, the last axis the fastest. */
#ifndef TFCHARLM_RECURRENCE_H
#define TFCHARLM_RECURRENCE_H

#include <stdint.h>

enum { MOST_STATES = 2 };

/* What a step computes between its matrix products. */
enum cell { RNN, LSTM, CAPPED_LSTM, GRU, CELL_COUNT };

/* What the passes over one sequence share. */
struct sequence {
  enum cell cell;
  int64_t batch, steps, width, units; /* width: D, or V if the inputs are ids */
  const float *kernel;                /* (D, G*H), or (V, G*H): a row for each symbol */
  const float *recurrent_kernel;      /* (H, G*H) */
  const float *bias;                  /* (G*H), of a GRU (4*H), or NULL */
  const float *inputs;                /* (B, T, D), or NULL if the inputs are ids */
  const int32_t *ids;                 /* (B, T), from 0 to V - 1, or NULL */
  const unsigned char *is_real;       /* (B, T), 0 in padding, where the states do not change; or NULL */
  const float *initial_states[MOST_STATES]; /* (B, H) each: h, and c of an LSTM, before the first step */
};

/* What the forward pass computes. */
struct results {
  float *outputs;                   /* (B, T, H): h after every step */
  float *final_states[MOST_STATES]; /* (B, H) each: the states after the last step */
  float *saved;                     /* what the backward pass needs besides, `saved_size` numbers; or NULL */
};

/* Gradients of a number with respect to the results, and with respect to what made them. */
struct gradients {
  const float *outputs, *final_states[MOST_STATES];
  float *kernel, *recurrent_kernel, *bias; /* bias may be NULL */
  float *inputs;                           /* (B, T, D), or NULL if nobody needs it */
  float *initial_states[MOST_STATES];
};

/* One set of functions for each kind of vectors. `forward` and `backward` return 0, or -1 if there is no memory. */
struct variant {
  const char *name;
  int lanes;
  int64_t (*saved_size)(const struct sequence *);
  int (*forward)(const struct sequence *, const struct results *);
  int (*backward)(const struct sequence *, const struct results *, const struct gradients *);
};

extern const struct variant avx512_variant, avx2_variant, generic_variant;

static inline int state_count(enum cell cell) { return cell == LSTM || cell == CAPPED_LSTM ? 2 : 1; }
static inline int has_c(enum cell cell) { return state_count(cell) > 1; }
static inline int block_count(enum cell cell) { return cell == RNN ? 1 : cell == GRU ? 3 : 4; }
static inline int bias_blocks(enum cell cell) { return cell == GRU ? 4 : block_count(cell); }

/* The fastest variant that this processor can run; NULL if it has none that is worth it. */
const struct variant *best_variant(void);

#endif
