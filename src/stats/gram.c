#include "gram.h"

#include "base/timer.h"
#include "reap/error.h"

static int gather_replicated(const reap_samples *samples, reap_layer_gram *g) {
  const double start = reap_seconds();
  REAP_TRY(reap_comm_agree(g->comm, reap_accumulator_create(samples, &g->accumulator)));
  REAP_TRY(reap_accumulator_sum(g->accumulator, g->comm));
  g->seconds = reap_seconds() - start;
  REAP_TRY(reap_accumulator_reduce(g->accumulator, g->comm, &g->moments));
  g->view = reap_gram_of(g->moments);
  g->multiply_adds = reap_accumulator_multiply_adds(g->accumulator, g->view.samples);
  g->seconds_reduce = reap_seconds() - start - g->seconds;
  return REAP_OK;
}

static int gather_distributed(const reap_samples *samples, reap_layer_gram *g) {
  const double start = reap_seconds();
  REAP_TRY(reap_moments_panels_create(g->comm, samples, 0, &g->panels));
  g->view = *reap_moments_panels_gram(g->panels);
  g->multiply_adds = reap_moments_panels_multiply_adds(g->panels);
  g->seconds = reap_seconds() - start;
  return REAP_OK;
}

/* Products are formed where they are wanted; sample space wants those of the rows with one another. */
static int gather_rows(const reap_samples *samples, reap_layer_gram *g) {
  const double start = reap_seconds();
  REAP_TRY(reap_gather_rows(g->comm, samples, &g->rows));
  g->view = reap_few_rows_gram(g->rows);
  const double rows = (double)g->view.samples;
  g->multiply_adds = 0.5 * rows * rows * ((double)g->view.n + (double)g->view.m);
  g->seconds = reap_seconds() - start;
  return REAP_OK;
}

int reap_gram_gather(const reap_comm *comm, const reap_samples *samples, reap_gram_place place, reap_layer_gram *g) {
  *g = (reap_layer_gram){.comm = comm, .samples = *samples};
  if (place != REAP_GRAM_WHOLE && reap_rows_are_few(reap_samples_rows(samples), samples->layer.n))
    return gather_rows(samples, g);
  return place == REAP_GRAM_DISTRIBUTED ? gather_distributed(samples, g) : gather_replicated(samples, g);
}

/* ------------------------------------------------------------------ from a file */

static int check_shape(reap_stats_file *file, const char *name, const reap_layer *layer, const reap_gram *g) {
  if (g->channels == layer->channels && g->block == layer->block && g->m == layer->m) return REAP_OK;
  return reap_error(
      REAP_ERR_INPUT,
      "%s: layer \"%s\" has %lld channels of %lld columns and %lld outputs; the network has %lld of %lld and %lld",
      reap_stats_file_path(file), name, (long long)g->channels, (long long)g->block, (long long)g->m,
      (long long)layer->channels, (long long)layer->block, (long long)layer->m);
}

static int open_stored(reap_stats_file *file, const char *name, const reap_layer *layer, bool pieces,
                       reap_layer_gram *g) {
  const int index = reap_stats_file_find(file, name);
  if (index < 0)
    return reap_error(REAP_ERR_INPUT, "%s: has no layer \"%s\"; gather the moments of this network",
                      reap_stats_file_path(file), name);
  if (pieces) {
    REAP_TRY(reap_stats_source_open(file, index, &g->stored));
    g->view = *reap_stats_source_gram(g->stored);
  } else {
    REAP_TRY(reap_stats_file_read(file, index, &g->moments));
    g->view = reap_gram_of(g->moments);
  }
  return check_shape(file, name, layer, &g->view);
}

int reap_gram_read(const reap_comm *comm, reap_stats_file *file, const char *name, const reap_layer *layer, bool pieces,
                   bool wanted, reap_layer_gram *g) {
  *g = (reap_layer_gram){.comm = comm};
  return reap_comm_agree(comm, pieces || wanted ? open_stored(file, name, layer, pieces, g) : REAP_OK);
}

/* ------------------------------------------------------------------ either */

void reap_gram_clear(reap_layer_gram *g) {
  reap_moments_destroy(&g->moments);
  reap_accumulator_destroy(&g->accumulator);
  reap_moments_panels_destroy(&g->panels);
  reap_few_rows_destroy(&g->rows);
  reap_stats_source_close(&g->stored);
  g->view = (reap_gram){0};
}

int reap_gram_residual(const reap_layer_gram *g, bool held_out, int64_t n_kept, const int64_t *kept,
                       const double *weights, const double *bias, reap_held_out_error *out) {
  return !g->accumulator ? reap_row_residual(g->comm, &g->samples, held_out, n_kept, kept, weights, bias, out)
                         : reap_accumulator_residual(g->accumulator, g->comm, n_kept, kept, weights, bias, out);
}
