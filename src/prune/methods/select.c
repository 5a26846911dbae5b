/* From what a method gives to a set of channels. */
#include <math.h>
#include <string.h>

#include "methods.h"
#include "reap/error.h"
#include "reap/memory.h"

void reap_channels_left_out(int64_t channels, int64_t n_kept, const int64_t *kept, int64_t *removed) {
  for (int64_t c = 0, k = 0; c < channels; c++)
    if (k < n_kept && kept[k] == c)
      k++;
    else
      *removed++ = c;
}

static int make_room(const reap_method *method, const reap_evidence *e, reap_choice *c) {
  const int64_t channels = e->group->units;
  int64_t size = 0;
  if (method->gives & REAP_GIVES_SCORES) REAP_TRY(reap_calloc(&c->scores, channels, sizeof *c->scores));
  if (method->gives & REAP_GIVES_ORDER) REAP_TRY(reap_calloc(&c->order, channels - e->n_kept, sizeof *c->order));
  if (method->gives & REAP_GIVES_SET) REAP_TRY(reap_calloc(&c->kept, e->n_kept, sizeof *c->kept));
  if (!(method->gives & REAP_GIVES_WEIGHTS) || !e->own_weights) return REAP_OK;
  REAP_TRY(reap_product((int64_t[]){e->n_kept, e->gram->block, e->gram->m}, 3, &size));
  REAP_TRY(reap_calloc(&c->weights, size, sizeof *c->weights));
  return reap_calloc(&c->bias, e->gram->m, sizeof *c->bias);
}

/* True if all numbers are finite. */
static bool are_finite(const double *values, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    if (!isfinite(values[i])) return false;
  return true;
}

static void keep_largest(const double *scores, int64_t n, int64_t count, bool *keep) {
  for (int64_t k = 0; k < count; k++) {
    int64_t best = -1;
    for (int64_t i = 0; i < n; i++)
      if (!keep[i] && (best < 0 || scores[i] > scores[best])) best = i;
    keep[best] = true;
  }
}

/* keep[] is `to` at the channels listed and the opposite elsewhere; false if one is no channel, or listed twice. */
static bool mark(const int64_t *list, int64_t count, int64_t channels, bool to, bool *keep) {
  for (int64_t c = 0; c < channels; c++) keep[c] = !to;
  for (int64_t i = 0; i < count; i++) {
    if (list[i] < 0 || list[i] >= channels || keep[list[i]] == to) return false;
    keep[list[i]] = to;
  }
  return true;
}

static int fill_keep(const reap_method *method, const reap_evidence *e, const reap_choice *c, bool *keep) {
  const int64_t channels = e->group->units, *order = c->path ? c->path->order : c->order;
  if (c->scores && !are_finite(c->scores, channels))
    return reap_error(REAP_ERR_NUMERIC, "group %s: method %s gives scores that are no numbers", e->group->name,
                      method->name);
  if (c->scores)
    keep_largest(c->scores, channels, e->n_kept, keep);
  else if (c->kept ? !mark(c->kept, e->n_kept, channels, true, keep)
                   : !mark(order, channels - e->n_kept, channels, false, keep))
    return reap_error(REAP_ERR_INTERNAL, "group %s: method %s gives channels twice, or such as there are not",
                      e->group->name, method->name);
  return REAP_OK;
}

/* A path whose shape is the group's, with weights where they are used. */
static int check_path(const reap_method *method, const reap_evidence *e, const reap_path *path) {
  const bool holds = !e->comm || reap_comm_rank(e->comm) == 0;
  if (!(method->gives & REAP_GIVES_PATH)) return REAP_OK;
  if (path && path->channels == e->group->units && path->n_kept == e->n_kept && path->block == e->gram->block &&
      path->m == e->gram->m && (path->weights || !holds))
    return REAP_OK;
  return reap_error(REAP_ERR_INTERNAL, "group %s: method %s gives no path to %lld channels", e->group->name,
                    method->name, (long long)e->n_kept);
}

/* The method's own weights as a path that no errors are known of. */
static int path_of_weights(const reap_method *method, const reap_evidence *e, const reap_choice *c, reap_path **out) {
  const int64_t block = e->gram->block, m = e->gram->m;
  if (!are_finite(c->weights, e->n_kept * block * m) || !are_finite(c->bias, m))
    return reap_error(REAP_ERR_NUMERIC, "group %s: method %s gives weights that are no numbers", e->group->name,
                      method->name);
  REAP_TRY(reap_path_create(e->group->units, block, m, e->n_kept, out));
  memcpy((*out)->weights, c->weights, (size_t)(e->n_kept * block * m) * sizeof *c->weights);
  memcpy((*out)->bias, c->bias, (size_t)m * sizeof *c->bias);
  return REAP_OK;
}

static int make_set(const reap_method *method, const reap_evidence *e, const reap_choice *c, int64_t *kept,
                    int64_t *removed) {
  const int64_t channels = e->group->units, *order = c->path ? c->path->order : c->order;
  bool *keep = NULL;
  REAP_TRY(reap_calloc(&keep, channels, sizeof *keep));
  int status = fill_keep(method, e, c, keep);
  for (int64_t i = 0, k = 0; status == REAP_OK && i < channels; i++)
    if (keep[i]) kept[k++] = i;
  if (status == REAP_OK && order)
    memcpy(removed, order, (size_t)(channels - e->n_kept) * sizeof *order);
  else if (status == REAP_OK)
    reap_channels_left_out(channels, e->n_kept, kept, removed);
  reap_free(&keep);
  return status;
}

int reap_method_select(const reap_method *method, void *state, const reap_evidence *e, int64_t *kept, int64_t *removed,
                       reap_path **path) {
  reap_choice c = {0};
  *path = NULL;
  int status = make_room(method, e, &c);
  status = reap_comm_agree(e->comm, status);
  if (status == REAP_OK) status = method->score(state, e, &c);
  if (status == REAP_OK) status = check_path(method, e, c.path);
  if (status == REAP_OK) status = make_set(method, e, &c, kept, removed);
  if (status == REAP_OK && c.weights) status = path_of_weights(method, e, &c, &c.path);
  if (status == REAP_OK) {
    *path = c.path;
    c.path = NULL;
  }
  reap_free(&c.scores);
  reap_free(&c.order);
  reap_free(&c.kept);
  reap_free(&c.weights);
  reap_free(&c.bias);
  reap_path_destroy(&c.path);
  return status;
}
