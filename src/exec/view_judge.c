/* Views judged; see view_judge.h. Cost: a forward pass of either network over each view. Memory: one block of images of
 * either, and three numbers for each image and output. */
#include "view_judge.h"

#include <math.h>
#include <string.h>

#include "output_set.h"
#include "reap/error.h"
#include "reap/memory.h"

enum { AGREEMENT_IMAGES = 200 };
static const double LEAST_AGREEMENT = 0.8;

const char *const reap_view_names[REAP_VIEW_KINDS] = {"flips", "shifts", "mixes"};

/* The outputs of scores alone. */
static int find_scores(const reap_graph *graph, reap_output_set *outputs) {
  int n = 0;
  REAP_TRY(reap_output_set_create(graph, outputs));
  for (int k = 0; k < outputs->n; k++) {
    if (outputs->list[k].kind == REAP_OUTPUT_OTHER) continue;
    outputs->values[n] = outputs->list[k].value;
    outputs->list[n++] = outputs->list[k];
  }
  outputs->n = n;
  return REAP_OK;
}

static int64_t top(const float *row, int64_t classes) {
  int64_t best = 0;
  for (int64_t j = 1; j < classes; j++)
    if (row[j] > row[best]) best = j;
  return best;
}

/* ------------------------------------------------------------------ agreement */

typedef struct agreement {
  const reap_output_set *outputs;
  reap_view_runner *runner;
  const float **rows; /* [outputs] */
  int64_t *classes;   /* [outputs, block] of the images as they are */
  int64_t block, counts[REAP_VIEW_KINDS];
} agreement;

static int run_block(agreement *a, unsigned asked, int64_t b) {
  int64_t first, count;
  for (int k = -1; k < REAP_VIEW_KINDS; k++) {
    if (k >= 0 && !(asked & (1U << k))) continue;
    REAP_TRY(reap_view_runner_run(a->runner, k < 0 ? 0 : 1U << k, b, &first, &count));
    for (int64_t i = 0; i < count; i++) {
      bool same = true;
      for (int o = 0; o < a->outputs->n; o++) {
        const int64_t size = a->outputs->list[o].size, found = top(a->rows[o] + i * size, size);
        int64_t *known = &a->classes[o * a->block + i];
        if (k < 0) *known = found;
        same = same && found == *known;
      }
      if (k >= 0) a->counts[k] += same;
    }
  }
  return REAP_OK;
}

static int run_all(agreement *a, const reap_graph *graph, const reap_views *views, unsigned asked,
                   reap_backend backend) {
  const int n = a->outputs->n;
  REAP_TRY(reap_alloc(&a->rows, n, sizeof *a->rows));
  REAP_TRY(reap_alloc(&a->classes, n * views->shard.block, sizeof *a->classes));
  REAP_TRY(reap_view_runner_create(views, graph, n, a->outputs->values, backend, &a->runner, a->rows));
  for (int64_t b = views->shard.first; b < views->shard.last; b++) REAP_TRY(run_block(a, asked, b));
  return REAP_OK;
}

/* Evenly spaced ones of them. */
static int take_few(const reap_comm *comm, const reap_views *all, int64_t **indices, reap_views *few) {
  const int64_t n = all->shard.images, count = n < AGREEMENT_IMAGES ? n : AGREEMENT_IMAGES;
  REAP_TRY(reap_alloc(indices, count, sizeof **indices));
  for (int64_t i = 0; i < count; i++) (*indices)[i] = all->indices[i * n / count];
  *few = *all;
  few->indices = *indices;
  few->shard = reap_shard_make(count, all->shard.block, reap_comm_rank(comm), reap_comm_size(comm));
  return REAP_OK;
}

int reap_views_agreed(const reap_comm *comm, const reap_graph *graph, const reap_views *views, unsigned asked,
                      reap_backend backend, double share[REAP_VIEW_KINDS], unsigned *agreed) {
  int64_t *indices = NULL;
  reap_output_set outputs = {0};
  reap_views few = {0};
  agreement a = {.outputs = &outputs, .block = views->shard.block};
  *agreed = 0;
  for (int k = 0; k < REAP_VIEW_KINDS; k++) share[k] = NAN;
  int status = find_scores(graph, &outputs);
  if (status == REAP_OK) status = take_few(comm, views, &indices, &few);
  if (status == REAP_OK && outputs.n > 0 && asked) status = run_all(&a, graph, &few, asked, backend);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK) status = reap_comm_sum_int64(comm, a.counts, REAP_VIEW_KINDS);
  for (int k = 0; status == REAP_OK && outputs.n > 0 && k < REAP_VIEW_KINDS; k++) {
    if (!(asked & (1U << k))) continue;
    share[k] = (double)a.counts[k] / (double)few.shard.images;
    if (share[k] >= LEAST_AGREEMENT) *agreed |= 1U << k;
  }
  reap_view_runner_destroy(&a.runner);
  reap_free(&a.rows);
  reap_free(&a.classes);
  reap_free(&indices);
  reap_output_set_clear(&outputs);
  return status;
}

/* ------------------------------------------------------------------ figures */

typedef struct judge {
  const reap_views *views;
  reap_output_set before, after; /* scores of either network */
  reap_view_runner *runners[2];
  const float **rows[2];     /* [outputs] of either */
  int64_t images, *labels;   /* [block]; NULL: there are none */
  double *kl, *same, *drops; /* [outputs, images] means over views; drops: NaN where the label is no class */
} judge;

static void judge_row(judge *j, int o, int64_t image, double weight, const float *y, const float *z, int64_t label) {
  const reap_output *a = &j->before.list[o], *b = &j->after.list[o];
  const int64_t at = o * j->images + image, was = top(y, a->size), is = top(z, a->size);
  reap_divergence sums = {0};
  reap_divergence_add(a->kind, y, b->kind, z, 1, a->size, &sums);
  j->kl[at] += weight * sums.kl;
  j->same[at] += weight * (was == is);
  j->drops[at] += label < 0 || label >= a->size ? NAN : weight * ((was == label) - (is == label));
}

static int read_labels(const judge *j, int64_t first, int64_t count) {
  for (int64_t i = 0; j->labels && i < count; i++)
    REAP_TRY(reap_dataset_read_labels(j->views->images, j->views->indices[first + i], 1, &j->labels[i]));
  return REAP_OK;
}

static int judge_block(judge *j, unsigned view, double weight, int64_t b) {
  int64_t first, count;
  for (int k = 0; k < 2; k++) REAP_TRY(reap_view_runner_run(j->runners[k], view, b, &first, &count));
  REAP_TRY(read_labels(j, first, count));
  for (int o = 0; o < j->before.n; o++)
    for (int64_t i = 0; i < count; i++) {
      const int64_t size = j->before.list[o].size;
      judge_row(j, o, first + i, weight, j->rows[0][o] + i * size, j->rows[1][o] + i * size,
                j->labels ? j->labels[i] : -1);
    }
  return REAP_OK;
}

static int judge_all(judge *j, unsigned used) {
  const reap_shard *shard = &j->views->shard;
  int views = used == 0;
  for (int k = 0; k < REAP_VIEW_KINDS; k++) views += (used >> k) & 1U;
  for (int64_t b = shard->first; b < shard->last; b++)
    for (int k = 0; k < REAP_VIEW_KINDS; k++)
      if (used & (1U << k) || (used == 0 && k == 0)) REAP_TRY(judge_block(j, used & (1U << k), 1.0 / views, b));
  return REAP_OK;
}

static int set_up(judge *j, const reap_graph *original, const reap_graph *pruned, reap_backend backend) {
  const int64_t n = (int64_t)j->before.n * j->images;
  if (reap_dataset_has_labels(j->views->images))
    REAP_TRY(reap_alloc(&j->labels, j->views->shard.block, sizeof(int64_t)));
  for (int k = 0; k < 2; k++) {
    REAP_TRY(reap_alloc(&j->rows[k], j->before.n, sizeof *j->rows[k]));
    REAP_TRY(reap_view_runner_create(j->views, k ? pruned : original, j->before.n,
                                     k ? j->after.values : j->before.values, backend, &j->runners[k], j->rows[k]));
  }
  REAP_TRY(reap_calloc(&j->kl, n, sizeof *j->kl));
  REAP_TRY(reap_calloc(&j->same, n, sizeof *j->same));
  return reap_calloc(&j->drops, n, sizeof *j->drops);
}

/* The output that counts; its KL becomes that of all together for a sum. */
static int combine(judge *j, reap_measure measure) {
  int worst = 0;
  double most = -1;
  for (int o = 0; o < j->before.n; o++) {
    double sum = 0;
    for (int64_t i = 0; i < j->images; i++) sum += j->kl[o * j->images + i];
    if (measure == REAP_MEASURE_LARGEST && sum > most) worst = o, most = sum;
    for (int64_t i = 0; measure == REAP_MEASURE_SUM && o > 0 && i < j->images; i++)
      j->kl[i] += j->kl[o * j->images + i];
  }
  return worst;
}

/* Every image has one owner, the other ranks add zeros: exact. Collective. */
static int conclude(const reap_comm *comm, judge *j, reap_measure measure, reap_view_figures *out) {
  const int64_t n = j->images;
  REAP_TRY(reap_comm_sum(comm, j->kl, j->before.n * n));
  REAP_TRY(reap_comm_sum(comm, j->same, j->before.n * n));
  REAP_TRY(reap_comm_sum(comm, j->drops, j->before.n * n));
  const int64_t at = n * combine(j, measure);
  out->images = n;
  out->labelled = true;
  for (int64_t i = 0; i < n; i++) out->labelled = out->labelled && !isnan(j->drops[at + i]);
  int status = reap_bootstrap(n, j->kl + at, &out->kl);
  if (status == REAP_OK) status = reap_bootstrap_share(n, j->same + at, 0, &out->top1);
  if (status == REAP_OK && out->labelled) status = reap_bootstrap_share(n, j->drops + at, -1, &out->drop);
  REAP_TRY(reap_comm_agree(comm, status));
  return reap_comm_broadcast(comm, out, sizeof *out, 0);
}

static void clear(judge *j) {
  for (int k = 0; k < 2; k++) {
    reap_view_runner_destroy(&j->runners[k]);
    reap_free(&j->rows[k]);
  }
  reap_output_set_clear(&j->before);
  reap_output_set_clear(&j->after);
  reap_free(&j->labels);
  reap_free(&j->kl);
  reap_free(&j->same);
  reap_free(&j->drops);
}

int reap_views_judge(const reap_comm *comm, const reap_graph *original, const reap_graph *pruned,
                     const reap_views *views, unsigned used, reap_backend backend, reap_measure measure,
                     reap_view_figures *out) {
  judge j = {.views = views, .images = views->shard.images};
  memset(out, 0, sizeof *out);
  int status = find_scores(original, &j.before);
  if (status == REAP_OK) status = find_scores(pruned, &j.after);
  const bool some = status == REAP_OK && j.before.n > 0;
  if (some) status = set_up(&j, original, pruned, backend);
  if (some && status == REAP_OK) status = judge_all(&j, used);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK && some) status = conclude(comm, &j, measure, out);
  clear(&j);
  return status;
}
