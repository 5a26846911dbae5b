/* tr(Z_u' Z_v) is tr(W_u' G_uv W_v), the sum of the elements of G_uv times those of (W W')_uv; and tr(Z_u' (Y - 1 b'))
 * is the sum of the elements of W_u times those of C_u - s_u b', with the sums s of X's columns. Columns of no unit
 * are taken for one more, whose inner products with the others are then part of the target. */
#include "contributions.h"

#include "base/numbers.h"
#include "linalg/dense.h"
#include "readers.h"
#include "reap/error.h"
#include "reap/memory.h"

void reap_contributions_clear(reap_contributions *c) {
  reap_free(&c->product);
  reap_free(&c->target);
}

/* Place of a column's unit, that of none behind all others. */
static int64_t place(const reap_reader *reader, int64_t units, int64_t column) {
  const int64_t unit = reap_reader_unit(reader, column);
  return unit < 0 ? units : unit;
}

/* Inner products [units + 1, units + 1] of all contributions of one layer with weights [n, m]. */
static int form_products(const reap_reader *reader, int64_t units, const double *weights, double *products) {
  const reap_moments *s = reader->gram->moments;
  const int64_t n = s->n, count = units + 1;
  double *k = NULL; /* W W', lower triangle */
  int64_t size = 0;
  REAP_TRY(reap_multiply(n, n, &size));
  REAP_TRY(reap_alloc(&k, size, sizeof *k));
  const int status = reap_dsyrk_lower('T', n, s->m, 1, weights, s->m, 0, k, n);
  for (int64_t j = 0; status == REAP_OK && j < n; j++)
    for (int64_t i = j; i < n; i++) { /* an element off the diagonal stands for two; of one unit, both are its own */
      const int64_t u = place(reader, units, i), v = place(reader, units, j);
      products[reap_larger(u, v) + reap_smaller(u, v) * count] +=
          (i > j && u == v ? 2 : 1) * s->gram[i + j * n] * k[i + j * n];
    }
  reap_free(&k);
  reap_mirror_lower(count, products, count);
  return status;
}

/* Adds what one layer has, `scale` times. */
static void add(const reap_reader *reader, double scale, const double *weights, const double *bias,
                const double *products, reap_contributions *out) {
  const reap_moments *s = reader->gram->moments;
  const int64_t units = out->units;
  for (int64_t i = 0; i < s->n; i++) {
    const int64_t unit = reap_reader_unit(reader, i);
    double sum = 0;
    for (int64_t j = 0; j < s->m; j++) sum += weights[i * s->m + j] * (s->cross[i * s->m + j] - s->sum_x[i] * bias[j]);
    if (unit >= 0) out->target[unit] += scale * sum;
  }
  for (int64_t v = 0; v < units; v++) {
    out->target[v] -= scale * products[units + v * (units + 1)];
    for (int64_t u = 0; u < units; u++) out->product[u + v * units] += scale * products[u + v * (units + 1)];
  }
}

static int add_reader(const reap_evidence *e, const reap_reader *reader, reap_contributions *out) {
  double *weights = NULL, *bias = NULL, *products = NULL;
  int status = reap_reader_weights(e, reader, &weights, &bias);
  if (status == REAP_OK) status = reap_calloc(&products, (out->units + 1) * (out->units + 1), sizeof *products);
  if (status == REAP_OK) status = form_products(reader, out->units, weights, products);
  if (status == REAP_OK) add(reader, reap_reader_scale(reader), weights, bias, products, out);
  reap_free(&products);
  reap_free(&weights);
  reap_free(&bias);
  return status;
}

int reap_contributions_make(const reap_evidence *e, reap_contributions *out) {
  *out = (reap_contributions){.units = e->group->units};
  REAP_TRY(reap_calloc(&out->product, out->units * out->units, sizeof *out->product));
  REAP_TRY(reap_calloc(&out->target, out->units, sizeof *out->target));
  for (int k = 0; k < e->n_readers; k++) REAP_TRY(add_reader(e, &e->readers[k], out));
  return REAP_OK;
}
