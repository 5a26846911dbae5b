#include "random.h"

#include <math.h>

static uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

reap_random reap_random_init(uint64_t seed, uint64_t a, uint64_t b) {
  reap_random random = {mix(mix(mix(seed + 0x9e3779b97f4a7c15u) ^ a) + 0x632be59bd9b4e019u * (b + 1))};
  return random;
}

uint64_t reap_random_key(const char *name) {
  uint64_t h = 1469598103934665603u;
  for (const char *c = name; *c; c++) h = (h ^ (unsigned char)*c) * 1099511628211u;
  return h;
}

uint64_t reap_random_next(reap_random *random) {
  random->state += 0x9e3779b97f4a7c15u;
  return mix(random->state);
}

int64_t reap_random_below(reap_random *random, int64_t bound) {
  uint64_t n = (uint64_t)bound;
  uint64_t limit = UINT64_MAX - UINT64_MAX % n; /* reject the incomplete last interval */
  uint64_t draw;
  do draw = reap_random_next(random);
  while (draw >= limit);
  return (int64_t)(draw % n);
}

double reap_random_uniform(reap_random *random) { return (double)(reap_random_next(random) >> 11) * 0x1p-53; }

double reap_random_normal(reap_random *random) {
  double u = 1.0 - reap_random_uniform(random); /* in (0, 1]: the logarithm is finite */
  double v = reap_random_uniform(random);
  return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

void reap_random_sample(reap_random *random, int64_t bound, int64_t count, int64_t *out) {
  int64_t drawn = 0;
  for (int64_t top = bound - count; top < bound; top++) {
    int64_t pick = reap_random_below(random, top + 1);
    int64_t at = 0;
    while (at < drawn && out[at] < pick) at++;
    if (at < drawn && out[at] == pick) { /* taken already: Floyd's method takes `top`, which is larger than all */
      pick = top;
      at = drawn;
    }
    for (int64_t i = drawn; i > at; i--) out[i] = out[i - 1];
    out[at] = pick;
    drawn++;
  }
}
