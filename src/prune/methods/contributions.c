/* tr(Z_c' Z_d) is tr(W_c' G_cd W_d), the sum of the elements of G_cd times those of (W W')_cd; and tr(Z_c' (Y - 1 b'))
 * is the sum of the elements of W_c times those of C_c - s_c b', with the sums s of X's columns. */
#include "contributions.h"

#include "linalg/dense.h"
#include "model/groups/surgery.h"
#include "reap/error.h"
#include "reap/memory.h"

void reap_contributions_clear(reap_contributions *c) {
  reap_free(&c->product);
  reap_free(&c->target);
  reap_free(&c->weights);
  reap_free(&c->bias);
}

static int allocate(const reap_moments *s, reap_contributions *out) {
  *out = (reap_contributions){.channels = s->channels};
  REAP_TRY(reap_calloc(&out->product, s->channels * s->channels, sizeof *out->product));
  REAP_TRY(reap_calloc(&out->target, s->channels, sizeof *out->target));
  REAP_TRY(reap_alloc(&out->weights, s->n * s->m, sizeof *out->weights));
  return reap_alloc(&out->bias, s->m, sizeof *out->bias);
}

static int add_products(const reap_moments *s, reap_contributions *out) {
  const int64_t n = s->n, block = s->block, channels = s->channels;
  double *k = NULL; /* W W', lower triangle */
  int64_t size = 0;
  REAP_TRY(reap_multiply(n, n, &size));
  REAP_TRY(reap_alloc(&k, size, sizeof *k));
  const int status = reap_dsyrk_lower('T', n, s->m, 1, out->weights, s->m, 0, k, n);
  for (int64_t j = 0; status == REAP_OK && j < n; j++)
    for (int64_t i = j; i < n;
         i++) /* an element off the diagonal stands for two, which in C_cc are both the channel's */
      out->product[i / block + j / block * channels] +=
          (i > j && i / block == j / block ? 2 : 1) * s->gram[i + j * n] * k[i + j * n];
  reap_free(&k);
  reap_mirror_lower(channels, out->product, channels);
  return status;
}

int reap_contributions_make(const reap_evidence *e, reap_contributions *out) {
  const reap_moments *s = e->gram->moments;
  REAP_TRY(allocate(s, out));
  reap_surgery_get_weights(e->graph, reap_group_consumer(e->group), out->weights, out->bias);
  for (int64_t i = 0; i < s->n; i++)
    for (int64_t j = 0; j < s->m; j++)
      out->target[i / s->block] += out->weights[i * s->m + j] * (s->cross[i * s->m + j] - s->sum_x[i] * out->bias[j]);
  return add_products(s, out);
}
