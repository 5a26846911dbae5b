#include "bootstrap.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "random.h"
#include "reap/error.h"
#include "reap/memory.h"

enum { TIMES = 2000 };
static const double TAIL = 0.025; /* on either side */

static int compare(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double percentile(const double *sorted, double share) {
  const double at = share * (TIMES - 1);
  const int below = (int)at;
  return below + 1 < TIMES ? sorted[below] + (at - below) * (sorted[below + 1] - sorted[below]) : sorted[below];
}

int reap_bootstrap(int64_t n, const double *values, reap_interval *out) {
  reap_random random = reap_random_init(0, reap_random_key("bootstrap"), (uint64_t)n);
  double *means = NULL, sum = 0;
  REAP_TRY(reap_alloc(&means, TIMES, sizeof *means));
  for (int64_t i = 0; i < n; i++) sum += values[i];
  for (int k = 0; k < TIMES; k++) {
    double drawn = 0;
    for (int64_t i = 0; i < n; i++) drawn += values[reap_random_below(&random, n)];
    means[k] = drawn / (double)n;
  }
  qsort(means, TIMES, sizeof *means, compare);
  *out = (reap_interval){sum / (double)n, percentile(means, TAIL), percentile(means, 1 - TAIL)};
  reap_free(&means);
  return REAP_OK;
}

double reap_hidden_share(int64_t n) { return 1 - pow(TAIL, 1 / (double)n); }

int reap_bootstrap_share(int64_t n, const double *values, double least, reap_interval *out) {
  bool same = true;
  for (int64_t i = 1; i < n; i++) same = same && values[i] == values[0];
  REAP_TRY(reap_bootstrap(n, values, out));
  if (!same) return REAP_OK;
  out->low = fmax(least, values[0] - reap_hidden_share(n));
  out->high = fmin(1, values[0] + reap_hidden_share(n));
  return REAP_OK;
}
