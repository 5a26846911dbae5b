/* Temperature scaling of a pruned classifier's outputs.
 *
 * Of several outputs each that is a classifier's and has a last layer of its own is scaled by a factor of its own.
 *
 * A classifier's result is the soft-max of its outputs (logits). A network pruned far errs, and if its logits stay as
 * large as the original's it is over-confident: that makes a third of the divergence of a ResNet-56 pruned uniformly to
 * half of its multiply-adds. So when all layers are done, the last one's weights and bias are multiplied
 * by the factor (one over the temperature) with the least KL divergence to the original's soft-max. Classes keep their
 * order; labels are not needed.
 *
 * Calibration images are often images that the original was trained on. It is over-confident on these, held out of the
 * moments or not. So the factor is calibrated on views of the images held out (exec/views.h): on that view, of those on
 * which the original agrees with itself, on which the divergence is the largest. Views that the original was trained on
 * as well (flipped and shifted images, as a rule) are known by heart as much as the images, and say little; the view
 * with the largest divergence is the least known of them. For ResNets for CIFAR-10 that is mixup, the weighted mean of
 * two images. Without views the images held out stand for themselves.
 *
 * The factor is at most one: following the original by a factor above one made a pruned ResNet-56 worse on new images
 * (KL 0.137 to 0.198). Fitting all weights of the last layer to the soft-max (by Newton's method) did not help:
 * on few images it overfits. Nothing is changed if the divergence on that view falls by less than WORTH_CHANGING, or
 * with fewer images than REAP_HELD_OUT_LEAST.
 *
 * Every image held out has one row, filled by its owner: the result does not depend on the number of ranks.
 *
 * Cost: a forward pass of each network over each view of the images held out. Memory: the values of one block of
 * images.
 */
#include <math.h>
#include <stdio.h>

#include "base/timer.h"
#include "exec/divergence.h"
#include "exec/output_set.h"
#include "exec/view_judge.h"
#include "model/groups/surgery.h"
#include "prune/run/run.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "temperature.h"

static const double WORTH_CHANGING = 0.1;

/* ------------------------------------------------------------------ the factor */

enum { PLAIN = REAP_VIEW_KINDS, VIEWS }; /* kinds of views, and the images as they are */

typedef struct classifier {
  int node, output;
  int64_t n, m, rows;                    /* columns and outputs of the layer, images held out */
  double *wanted[VIEWS], *logits[VIEWS]; /* [rows, m] of the original and of the pruned network; NULL: not used */
  double *weights, *bias;                /* [n, m], [m] of the layer */
} classifier;

static void set_up(const run *r, const reap_step *at, classifier *c) {
  const reap_node *node = r->pruned->nodes[at->node];
  const reap_tensor *weights = reap_node_constant(r->pruned, node, 1);
  c->node = at->node;
  c->output = node->outputs[0];
  c->m = weights->dims[0];
  c->n = weights->count / c->m;
  c->rows = reap_split_count(REAP_SPLIT_TENTH, r->shard->images);
}

static int allocate(const run *r, classifier *c) {
  for (int k = 0; k < VIEWS; k++) {
    if (k != PLAIN && !(r->options->views & (1U << k))) continue;
    REAP_TRY(reap_calloc(&c->wanted[k], c->rows * c->m, sizeof *c->wanted[k]));
    REAP_TRY(reap_calloc(&c->logits[k], c->rows * c->m, sizeof *c->logits[k]));
  }
  REAP_TRY(reap_alloc(&c->weights, c->n * c->m, sizeof *c->weights));
  return reap_alloc(&c->bias, c->m, sizeof *c->bias);
}

static void clear(classifier *c) {
  for (int k = 0; k < VIEWS; k++) {
    reap_free(&c->wanted[k]);
    reap_free(&c->logits[k]);
  }
  reap_free(&c->weights);
  reap_free(&c->bias);
}

/* The images as they are have passed already. Local. */
static int fill_plain(const run *r, classifier *c) {
  REAP_TRY(reap_frontier_advance(r->front_original, &c->output, 1));
  REAP_TRY(reap_frontier_advance(r->front_pruned, &c->output, 1));
  for (int64_t b = 0; b < reap_run_blocks(r); b++) {
    int64_t first, count;
    const float *y = NULL, *z = NULL;
    reap_shard_block(r->shard, r->shard->first + b, &first, &count);
    REAP_TRY(reap_frontier_read(r->front_original, c->output, b, &y));
    REAP_TRY(reap_frontier_read(r->front_pruned, c->output, b, &z));
    for (int64_t i = 0, row = reap_split_count(REAP_SPLIT_TENTH, first); i < count; i++) {
      if (!reap_split_holds_out(REAP_SPLIT_TENTH, first + i)) continue;
      for (int64_t j = 0; j < c->m; j++) {
        c->wanted[PLAIN][row * c->m + j] = (double)y[i * c->m + j];
        c->logits[PLAIN][row * c->m + j] = (double)z[i * c->m + j];
      }
      row++;
    }
  }
  return REAP_OK;
}

/* This rank's rows of the layer's outputs on every view. Local. */
static int run_views(const run *r, const classifier *c, const reap_graph *graph, const int64_t *held,
                     double *const *out) {
  const reap_shard shard = reap_shard_make(c->rows, graph->batch, reap_comm_rank(r->comm), reap_comm_size(r->comm));
  const reap_views views = {r->images, held, shard, r->options->seed};
  reap_view_runner *runner = NULL;
  const float *y = NULL;
  int status = reap_view_runner_create(&views, graph, 1, &c->output, r->options->backend, &runner, &y);
  for (int k = 0; k < REAP_VIEW_KINDS; k++)
    for (int64_t b = shard.first; out[k] && status == REAP_OK && b < shard.last; b++) {
      int64_t first, count;
      status = reap_view_runner_run(runner, 1U << k, b, &first, &count);
      for (int64_t i = 0; status == REAP_OK && i < count * c->m; i++) out[k][first * c->m + i] = (double)y[i];
    }
  reap_view_runner_destroy(&runner);
  return status;
}

static int fill_views(const run *r, classifier *c) {
  int64_t *held = NULL;
  REAP_TRY(reap_alloc(&held, c->rows, sizeof *held));
  reap_split_list(REAP_SPLIT_TENTH, r->shard->images, c->rows, held);
  int status = run_views(r, c, r->original, held, c->wanted);
  if (status == REAP_OK) status = run_views(r, c, r->pruned, held, c->logits);
  reap_free(&held);
  return status;
}

/* Every row has one owner, the other ranks add zeros: exact. Collective. */
static int gather(run *r, classifier *c) {
  int status = allocate(r, c);
  if (status == REAP_OK) status = fill_plain(r, c);
  if (status == REAP_OK && r->options->views) status = fill_views(r, c);
  REAP_TRY(reap_comm_agree(r->comm, status));
  for (int k = 0; k < VIEWS; k++) {
    if (!c->wanted[k]) continue;
    REAP_TRY(reap_comm_sum(r->comm, c->wanted[k], c->rows * c->m));
    REAP_TRY(reap_comm_sum(r->comm, c->logits[k], c->rows * c->m));
  }
  return REAP_OK;
}

static double divergence(const classifier *c, int view, double factor) {
  return reap_softmax_divergence(c->rows, c->m, c->wanted[view], c->logits[view], factor);
}

/* The view with the largest divergence; the images as they are only without views. */
static int hardest_view(const classifier *c) {
  int hardest = PLAIN;
  double most = -INFINITY;
  for (int k = 0; k < PLAIN; k++) {
    if (!c->wanted[k] || divergence(c, k, 1) <= most) continue;
    hardest = k;
    most = divergence(c, k, 1);
  }
  return hardest;
}

/* By rank 0. */
static void choose(const classifier *c, int view, reap_step_record *out) {
  out->images = c->rows;
  out->factor = reap_softmax_scale(c->rows, c->m, c->wanted[view], c->logits[view]);
  out->held_out_kl_before = divergence(c, PLAIN, 1);
  out->view_kl_before = divergence(c, view, 1);
  out->changed = divergence(c, view, out->factor) < (1 - WORTH_CHANGING) * out->view_kl_before;
  if (!out->changed) out->factor = 1;
  out->held_out_kl = divergence(c, PLAIN, out->factor);
  out->view_kl = divergence(c, view, out->factor);
}

/* Rank 0 decides for all ranks. Collective. */
static int conclude(run *r, classifier *c, reap_step_record *out) {
  int view = hardest_view(c);
  REAP_TRY(reap_comm_broadcast(r->comm, &view, sizeof view, 0));
  if (reap_comm_rank(r->comm) == 0) choose(c, view, out);
  REAP_TRY(reap_record_broadcast(r->comm, out));
  int status = reap_strdup(&out->layer, r->pruned->nodes[c->node]->layer);
  if (status == REAP_OK) status = reap_strdup(&out->view, view == PLAIN ? "none" : reap_view_names[view]);
  if (out->changed && status == REAP_OK) {
    reap_surgery_get_weights(r->pruned, c->node, c->weights, c->bias);
    for (int64_t i = 0; i < c->n * c->m; i++) c->weights[i] *= out->factor;
    for (int64_t j = 0; j < c->m; j++) c->bias[j] *= out->factor;
    status = reap_surgery_set_weights(r->pruned, c->node, c->weights, c->bias);
  }
  return reap_comm_agree(r->comm, status);
}

static void announce(const run *r, const reap_step_record *c) {
  char detail[96];
  if (c->changed)
    snprintf(detail, sizeof detail, "outputs scaled by %.3g, KL (views: %s) %.3g -> %.3g", c->factor, c->view,
             c->view_kl_before, c->view_kl);
  else
    snprintf(detail, sizeof detail, "no scale of the outputs is much better, KL (views: %s) %.3g", c->view, c->view_kl);
  reap_progress_report(r->options->progress, "prune", c->layer, r->steps.work, r->steps.work, detail);
}

void reap_run_keep_classifiers(run *r) {
  for (int k = 0; reap_output_set_several(r->pruned) && k < r->steps.n; k++)
    if (r->steps.list[k].kind == REAP_STEP_SCALE)
      reap_frontier_keep(r->front_original, r->pruned->nodes[r->steps.list[k].node]->outputs, 1);
}

int reap_step_scale_classifier(run *r, const reap_step *at) {
  const double start = reap_seconds();
  classifier c = {0};
  set_up(r, at, &c);
  if (c.rows < REAP_HELD_OUT_LEAST) return REAP_OK;
  reap_step_record *out = &r->result->steps[r->result->n++];
  out->kind = REAP_STEP_SCALE;
  int status = gather(r, &c);
  if (status == REAP_OK) status = conclude(r, &c, out);
  clear(&c);
  if (status != REAP_OK) return reap_error_prefix(status, "scaling the outputs of %s", r->pruned->nodes[c.node]->layer);
  out->seconds = reap_seconds() - start;
  r->result->seconds_solve += out->seconds;
  announce(r, out);
  return REAP_OK;
}
