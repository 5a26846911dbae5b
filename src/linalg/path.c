#include "reap/path.h"

#include <math.h>

#include "reap/error.h"
#include "reap/memory.h"

int reap_path_create_bare(int64_t channels, int64_t block, int64_t m, int64_t n_kept, reap_path **out) {
  reap_path *p = NULL;
  int status = REAP_OK;
  REAP_TRY(reap_calloc(&p, 1, sizeof *p));
  p->channels = channels;
  p->block = block;
  p->m = m;
  p->n_kept = n_kept;
  p->n_removed = channels - n_kept;
  REAP_TRY_OR(reap_calloc(&p->order, p->n_removed, sizeof *p->order), failed);
  REAP_TRY_OR(reap_calloc(&p->error, p->n_removed, sizeof *p->error), failed);
  REAP_TRY_OR(reap_calloc(&p->error_plain, p->n_removed, sizeof *p->error_plain), failed);
  REAP_TRY_OR(reap_calloc(&p->kept, n_kept, sizeof *p->kept), failed);
  REAP_TRY_OR(reap_calloc(&p->bias, m, sizeof *p->bias), failed);
  for (int64_t i = 0; i < p->n_removed; i++) p->error_plain[i] = NAN;
  *out = p;
  return REAP_OK;
failed:
  reap_path_destroy(&p);
  return status;
}

int reap_path_add_weights(reap_path *path) {
  const int64_t dims[] = {path->n_kept, path->block, path->m};
  int64_t size = 0;
  if (path->weights) return REAP_OK;
  REAP_TRY(reap_product(dims, 3, &size));
  return reap_calloc(&path->weights, size, sizeof *path->weights);
}

int reap_path_create(int64_t channels, int64_t block, int64_t m, int64_t n_kept, reap_path **out) {
  REAP_TRY(reap_path_create_bare(channels, block, m, n_kept, out));
  const int status = reap_path_add_weights(*out);
  if (status != REAP_OK) reap_path_destroy(out);
  return status;
}

void reap_path_destroy(reap_path **path) {
  if (!*path) return;
  reap_free(&(*path)->order);
  reap_free(&(*path)->error);
  reap_free(&(*path)->error_plain);
  reap_free(&(*path)->kept);
  reap_free(&(*path)->weights);
  reap_free(&(*path)->bias);
  reap_free(path);
}
