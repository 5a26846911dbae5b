/* Random numbers that depend on a key only, never on the number of ranks.
 *
 * SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a 64-bit counter through a
 * mixing function. Not for cryptography. Local.
 */
#ifndef REAP_BASE_RANDOM_H
#define REAP_BASE_RANDOM_H

#include <stdint.h>

typedef struct reap_random {
  uint64_t state;
} reap_random;

/* A stream of its own for every triple, e.g. (seed, layer, image). */
reap_random reap_random_init(uint64_t seed, uint64_t a, uint64_t b);

/* A number for a name, to be part of a key (FNV-1a, 64 bits). */
uint64_t reap_random_key(const char *name);

uint64_t reap_random_next(reap_random *random);

/* Uniform in 0 .. bound-1, without bias; bound >= 1. */
int64_t reap_random_below(reap_random *random, int64_t bound);

/* Uniform in [0, 1), and standard normal (Box and Muller). */
double reap_random_uniform(reap_random *random);
double reap_random_normal(reap_random *random);

/* Draws `count` different numbers out of 0 .. bound-1, ascending, into out[count] (Floyd's method,
 * count <= bound). Cost O(count^2), meant for small counts. */
void reap_random_sample(reap_random *random, int64_t bound, int64_t count, int64_t *out);

#endif
