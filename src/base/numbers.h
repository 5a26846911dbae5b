/* Arithmetic that several rooms need. */
#ifndef REAP_BASE_NUMBERS_H
#define REAP_BASE_NUMBERS_H

#include <stdint.h>

static inline int64_t reap_smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t reap_larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* Squared error relative to the energy of what it is an error of; 0 where there is none. */
static inline double reap_relative_error(double error, double energy) { return energy > 0 ? error / energy : 0; }

#endif
