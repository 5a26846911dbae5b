/* Rows in place of their moments; see few_rows.h.
 *
 * Cost: samples (n + m) numbers; X'X of r columns samples r^2 / 2 multiply-adds each time that it is streamed.
 */
#include "few_rows.h"

#include <string.h>

#include "dense.h"
#include "reap/error.h"
#include "reap/memory.h"

int reap_few_rows_create(int64_t channels, int64_t block, int64_t m, int64_t samples, reap_few_rows **out) {
  reap_few_rows *s = NULL;
  int status = REAP_OK;
  int64_t n = 0, size_x = 0, size_y = 0;
  *out = NULL;
  REAP_TRY(reap_multiply(channels, block, &n));
  REAP_TRY(reap_multiply(samples, n, &size_x));
  REAP_TRY(reap_multiply(samples, m, &size_y));
  REAP_TRY(reap_calloc(&s, 1, sizeof *s));
  *s = (reap_few_rows){.channels = channels, .block = block, .n = n, .m = m, .samples = samples};
  REAP_TRY_OR(reap_calloc(&s->x, size_x, sizeof *s->x), failed);
  REAP_TRY_OR(reap_calloc(&s->y, size_y, sizeof *s->y), failed);
  REAP_TRY_OR(reap_calloc(&s->diagonal, n, sizeof *s->diagonal), failed);
  REAP_TRY_OR(reap_calloc(&s->sum_x, n, sizeof *s->sum_x), failed);
  REAP_TRY_OR(reap_calloc(&s->sum_y, m, sizeof *s->sum_y), failed);
  *out = s;
  return REAP_OK;
failed:
  reap_few_rows_destroy(&s);
  return status;
}

void reap_few_rows_destroy(reap_few_rows **rows) {
  reap_few_rows *s = *rows;
  if (!s) return;
  reap_free(&s->x);
  reap_free(&s->y);
  reap_free(&s->diagonal);
  reap_free(&s->sum_x);
  reap_free(&s->sum_y);
  reap_free(rows);
}

void reap_few_rows_sum(reap_few_rows *s) {
  memset(s->diagonal, 0, (size_t)s->n * sizeof *s->diagonal);
  memset(s->sum_x, 0, (size_t)s->n * sizeof *s->sum_x);
  memset(s->sum_y, 0, (size_t)s->m * sizeof *s->sum_y);
  s->energy = 0;
  for (int64_t r = 0; r < s->samples; r++) {
    const double *x = s->x + r * s->n, *y = s->y + r * s->m;
    for (int64_t i = 0; i < s->n; i++) {
      s->sum_x[i] += x[i];
      s->diagonal[i] += x[i] * x[i];
    }
    for (int64_t j = 0; j < s->m; j++) {
      s->sum_y[j] += y[j];
      s->energy += y[j] * y[j];
    }
  }
}

/* Columns of some channels without gaps: out [samples, slots * block] row-major. */
static void take_columns(const reap_few_rows *s, int64_t slots, const int64_t *channel, double *out) {
  const int64_t b = s->block;
  for (int64_t r = 0; r < s->samples; r++)
    for (int64_t k = 0; k < slots; k++, out += b)
      memcpy(out, s->x + r * s->n + channel[k] * b, (size_t)b * sizeof *out);
}

static int gram_panels(void *context, int64_t slots, const int64_t *channel, reap_panel_visitor visit, void *visitor) {
  enum { WIDTH = 256 };
  const reap_few_rows *s = context;
  const int64_t b = s->block, n = slots * b, step = b < WIDTH ? WIDTH / b : 1;
  int64_t size_x = 0, size = 0;
  double *x = NULL, *panel = NULL;
  int status = reap_multiply(s->samples, n, &size_x);
  if (status == REAP_OK) status = reap_multiply(n, (step < slots ? step : slots) * b, &size);
  if (status == REAP_OK) status = reap_alloc(&x, size_x, sizeof *x);
  if (status == REAP_OK) status = reap_alloc(&panel, size, sizeof *panel);
  if (status == REAP_OK) take_columns(s, slots, channel, x);
  for (int64_t k = 0; status == REAP_OK && k < slots; k += step) {
    const int64_t count = slots - k < step ? slots - k : step, rows = n - k * b;
    status = reap_dgemm('N', 'T', rows, count * b, s->samples, 1, x + k * b, n, x + k * b, n, 0, panel, rows);
    if (status == REAP_OK) status = visit(visitor, k, count, panel, rows);
  }
  reap_free(&x);
  reap_free(&panel);
  return status;
}

static int cross(void *context, int64_t row, int64_t rows, int64_t column, int64_t columns, double *out, int64_t ld) {
  const reap_few_rows *s = context;
  return reap_dgemm('N', 'T', rows, columns, s->samples, 1, s->x + row, s->n, s->y + column, s->m, 0, out, ld);
}

reap_gram reap_few_rows_gram(const reap_few_rows *s) {
  return (reap_gram){.channels = s->channels,
                     .block = s->block,
                     .n = s->n,
                     .m = s->m,
                     .samples = s->samples,
                     .energy = s->energy,
                     .diagonal = s->diagonal,
                     .diagonal_step = 1,
                     .sum_x = s->sum_x,
                     .sum_y = s->sum_y,
                     .rows_x = s->x,
                     .rows_y = s->y,
                     .context = (void *)(uintptr_t)s,
                     .cross = cross,
                     .gram_panels = gram_panels};
}
