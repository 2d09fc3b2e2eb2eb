/* Vectors of LANES numbers and their elementary functions. NaN stays NaN in all of them. */

typedef float vector __attribute__((vector_size(LANES * 4)));
typedef int32_t integers __attribute__((vector_size(LANES * 4)));

#define INLINE static inline __attribute__((always_inline))

INLINE vector load(const float *from) {
  vector v;
  memcpy(&v, from, sizeof v);
  return v;
}

INLINE void store(float *to, vector v) { memcpy(to, &v, sizeof v); }

/* The first `count` numbers, zeros after them. */
INLINE vector load_some(const float *from, int64_t count) {
  if (count >= LANES) return load(from);
  vector v = {0};
  memcpy(&v, from, count * sizeof(float));
  return v;
}

INLINE void store_some(float *to, vector v, int64_t count) {
  if (count >= LANES) store(to, v);
  else memcpy(to, &v, count * sizeof(float));
}

/* Numbers in a line of the cache. */
enum { LINE = 16 };

/* Asks for `lines` lines of the cache, to be read or written soon. Any address will do. */
INLINE void fetch(const float *from, int lines) {
  for (int i = 0; i < lines; i++) __builtin_prefetch(from + i * LINE);
}

INLINE void fetch_to_write(float *to, int lines) {
  for (int i = 0; i < lines; i++) __builtin_prefetch(to + i * LINE, 1);
}

INLINE vector broadcast(float x) { return x - (vector){0}; }

INLINE vector choose(integers which, vector yes, vector no) {
  return (vector)(((integers)yes & which) | ((integers)no & ~which));
}

/* A comparison with NaN is false: the second argument must be the one that may be NaN. */
INLINE vector at_most(float bound, vector x) { return choose(x > broadcast(bound), broadcast(bound), x); }
INLINE vector at_least(float bound, vector x) { return choose(x < broadcast(bound), broadcast(bound), x); }

/* tanh as a fraction of two polynomials: a minimax approximation of degree 13 over 6, within 3 units of the last place.
   Beyond the bounds it is 1 in float32. */
INLINE vector hyperbolic_tangent(vector x) {
  x = at_least(-7.90531110763549805f, at_most(7.90531110763549805f, x));
  vector square = x * x;
  vector above = broadcast(-2.76076847742355e-16f);
  above = above * square + broadcast(2.00018790482477e-13f);
  above = above * square + broadcast(-8.60467152213735e-11f);
  above = above * square + broadcast(5.12229709037114e-08f);
  above = above * square + broadcast(1.48572235717979e-05f);
  above = above * square + broadcast(6.37261928875436e-04f);
  above = above * square + broadcast(4.89352455891786e-03f);
  vector below = broadcast(1.19825839466702e-06f);
  below = below * square + broadcast(1.18534705686654e-04f);
  below = below * square + broadcast(2.26843463243900e-03f);
  below = below * square + broadcast(4.89352518554385e-03f);
  return x * above / below;
}

/* e to the power of x, within 2 units of the last place: 2^n times a polynomial of the rest (Cephes, expf). */
INLINE vector exponential(vector x) {
  x = at_least(-87.0f, at_most(88.0f, x));
  /* Rounded to the nearest whole number by adding and subtracting 1.5 * 2^23. */
  vector n = (x * broadcast(1.44269504088896341f) + broadcast(12582912.0f)) - broadcast(12582912.0f);
  vector rest = x - n * broadcast(0.693359375f) + n * broadcast(2.12194440e-4f);
  vector p = broadcast(1.9875691500e-4f);
  p = p * rest + broadcast(1.3981999507e-3f);
  p = p * rest + broadcast(8.3334519073e-3f);
  p = p * rest + broadcast(4.1665795894e-2f);
  p = p * rest + broadcast(1.6666665459e-1f);
  p = p * rest + broadcast(5.0000001201e-1f);
  p = p * rest * rest + rest + broadcast(1.0f);
  /* A NaN has no whole number; the product with p is NaN whatever the power is. */
  integers power = __builtin_convertvector(choose(n == n, n, broadcast(0.0f)), integers);
  return p * (vector)((power + 127) << 23);
}

INLINE vector logistic(vector x) { return broadcast(1.0f) / (broadcast(1.0f) + exponential(-x)); }
