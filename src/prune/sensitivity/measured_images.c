/* Images drawn by how much they are in doubt; see measured_images.h.
 *
 * A divergence of soft-maxes is a mean over images to which few contribute: those between two classes. With p the
 * original's probabilities, a small movement of the logits in no certain direction moves the soft-max by as much as
 * sum p (1 - p) says. So images are drawn with chances in proportion to that (a tenth of them even, so that none is
 * left out for good), and each stands for one over its chance: the mean has the right expectation, and half of the
 * images tell nearly as much as all. ResNet-56, 400 images held out, 135 cuts: what an image contributes and its doubt
 * at temperature 4 correlate by 0.90 (logarithms). The standard error of a movement, relative to the others, is 0.093
 * with all 400 images; 200 drawn so add 0.05 to that (to the square root of 0.093^2 + 0.05^2), 200 drawn evenly 0.098.
 *
 * The drawing is systematic: chances are laid end to end, and the items are taken at points one apart, the first
 * of them at a half, as the order of images is one of chance. Items with a chance of one are always taken.
 *
 * Cost: one forward pass of the images. Memory: as one pass. Failure modes: an output that is not finite, or a network
 * that is in no doubt at all: then chances are even.
 */
#include "measured_images.h"

#include <math.h>
#include <string.h>

#include "base/numbers.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "study.h"

enum { FEW = 100 }; /* images that are always taken */

static const double EVEN = 0.1;

void reap_measured_clear(measured_images *m) {
  reap_free(&m->indices);
  reap_free(&m->weights);
}

int reap_measured_count(const reap_graph *graph, int64_t images, int64_t *count) {
  reap_output_set outputs;
  *count = images;
  REAP_TRY(reap_output_set_create(graph, &outputs));
  const bool draws = outputs.n == 1 && outputs.list[0].kind != REAP_OUTPUT_OTHER && images > FEW;
  reap_output_set_clear(&outputs);
  if (!draws) return REAP_OK;
  const int64_t some = reap_larger(FEW, images / 2), blocks = (some + graph->batch - 1) / graph->batch;
  *count = reap_smaller(images, blocks * graph->batch); /* a block that is half full costs a full one */
  return REAP_OK;
}

/* ------------------------------------------------------------------ the drawing */

/* chance[n] that add up to `wanted`, none above one, in proportion to what they are but for that. */
static void scale_chances(int64_t n, double wanted, double *chance) {
  for (int64_t capped = -1, now = 0; now != capped;) {
    double rest = 0, left = wanted;
    capped = now;
    for (int64_t i = 0; i < n; i++)
      if (chance[i] < 1)
        rest += chance[i];
      else
        left--;
    now = 0;
    for (int64_t i = 0; i < n; i++) {
      if (chance[i] < 1) chance[i] = fmin(1, chance[i] * left / rest);
      now += chance[i] >= 1;
    }
  }
}

int reap_measured_draw(int64_t n, const double *given, int64_t wanted, double start, int64_t *drawn,
                       double *stands_for) {
  double *chance = NULL, sum = 0, reached = 0;
  REAP_TRY(reap_alloc(&chance, n, sizeof *chance));
  for (int64_t i = 0; i < n; i++) sum += given[i];
  const bool some = sum > 0 && isfinite(sum);
  for (int64_t i = 0; i < n; i++) /* below one, so that nothing counts as taken at the start */
    chance[i] = 0.5 * ((some ? (1 - EVEN) * given[i] / sum : 0) + (some ? EVEN : 1) / (double)n);
  scale_chances(n, (double)wanted, chance);
  int64_t taken = 0;
  for (int64_t i = 0; i < n; i++) {
    reached += chance[i];
    const bool must = n - i <= wanted - taken; /* where rounding of sums has lost one */
    if (taken == wanted || (reached <= (double)taken + start && !must)) continue;
    drawn[taken] = i;
    stands_for[taken++] = 1 / chance[i];
  }
  reap_free(&chance);
  return REAP_OK;
}

/* ------------------------------------------------------------------ what it goes by */

/* context: doubt[images] of all images, this rank's to be filled. */
static void note_doubt(study *s, int64_t b, void *context) {
  double *doubt = context;
  const reap_output *o = &s->outputs.list[0];
  int64_t first, count;
  reap_shard_block(&s->shard, s->shard.first + b, &first, &count);
  for (int64_t i = 0; i < count; i++)
    doubt[first + i] = reap_divergence_doubt(o->kind, s->rows + i * o->size, o->size, REAP_PATHS_TEMPERATURE);
}

/* Of every image of the setting, into doubt[setting->count] (zeros). Collective. */
static int find_doubt(const reap_comm *comm, const reap_graph *graph, const sensitivity_setting *setting,
                      double *doubt) {
  study s = {.graph = graph,
             .setting = setting,
             .shard = reap_shard_make(setting->count, graph->batch, reap_comm_rank(comm), reap_comm_size(comm))};
  int status = reap_study_start(&s);
  if (status == REAP_OK) status = reap_study_set_up(&s);
  if (status == REAP_OK) status = reap_study_run(&s, s.base, s.graph, note_doubt, doubt);
  reap_study_clear(&s);
  REAP_TRY(reap_comm_agree(comm, status));
  return reap_comm_sum(comm, doubt, setting->count); /* each is one rank's: exact */
}

int reap_measured_choose(const reap_comm *comm, const reap_graph *graph, const sensitivity_setting *setting,
                         measured_images *out) {
  const int64_t all = setting->count;
  double *doubt = NULL;
  *out = (measured_images){0};
  int status = reap_measured_count(graph, all, &out->count);
  const bool some = out->count < all;
  if (status == REAP_OK) status = reap_alloc(&out->indices, out->count, sizeof *out->indices);
  if (status == REAP_OK && some) status = reap_alloc(&out->weights, out->count, sizeof *out->weights);
  if (status == REAP_OK && some) status = reap_calloc(&doubt, all, sizeof *doubt);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK && !some) memcpy(out->indices, setting->indices, (size_t)all * sizeof *out->indices);
  if (status == REAP_OK && some) status = find_doubt(comm, graph, setting, doubt);
  if (status == REAP_OK && some)
    status = reap_comm_agree(comm, reap_measured_draw(all, doubt, out->count, 0.5, out->indices, out->weights));
  for (int64_t i = 0; status == REAP_OK && some && i < out->count; i++)
    out->indices[i] = setting->indices[out->indices[i]];
  reap_free(&doubt);
  return status;
}
