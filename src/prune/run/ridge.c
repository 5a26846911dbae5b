/* The ridge by held-out error.
 *
 * Method. With few rows for many columns least squares fits the calibration images and nothing else. The ridge R keeps
 * it from that, and where it pulls towards the trained weights W0 instead of zero, what the rows do not tell stays as
 * it was trained:
 *
 *     min |Y - X W|^2 + tr((W - W0)' R (W - W0))      solved by  (G + R) W = C + R W0,
 *
 * which are the usual equations for the moments C + R W0 and E + tr(W0' R W0): selection and weights need nothing else
 * (reap_ridge_pull). R is relative to each column's own centred scale, zero in dead columns.
 *
 * Candidates are ridges 1e-8 ... 10 with either target; or (RIDGE_FEW_ROWS) the standard one and those large enough to
 * matter with fewer than FEW_ROWS rows for each column; or (RIDGE_PULLS: layers that lose no inputs, whose trained
 * weights are nearly right) the standard one and a few that pull towards the trained weights. They are compared on the
 * channels that the standard ridge keeps, each by a fresh solve on the images in the moments and its squared error on
 * the images held out (at MOST_POSITIONS positions of each: the same rows for all candidates, so that few serve). Every
 * block of images has a slot of its own in the sums, so that the choice does not depend on the number of ranks.
 *
 * The best then eliminates anew. What it keeps may hold columns that the images in the moments hardly move: their own
 * scale, and with it the ridge, is tiny, and what they do on other images is not seen. So the result has to stand the
 * same test (reap_ridge_measure); where it does not, the first choice of channels stays and takes the new ridge's
 * weights.
 *
 * Cost: K = 21 (or 9, 6) solves of a^3 / 3 + 2 a^2 m on rank 0 (a columns kept), and 2 K a m for each held-out row.
 * Memory: weights of as many candidates at a time as fit BATCH_BYTES, and a chunk of rows.
 */
#include "ridge.h"

#include <math.h>
#include <string.h>

#include "linalg/dense.h"
#include "prune/solver/normal_equations.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/solver.h"
#include "stats/rows.h"

static const double RIDGES[] = {1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10};
static const double PULLS[] = {1e-5, 1e-4, 1e-3, 1e-2, 1e-1};
static const double FEW_ZERO[] = {1e-3, 1e-2, 1e-1}, FEW_PULLS[] = {1e-3, 1e-2, 1e-1, 1, 10};
enum { N_RIDGES = sizeof RIDGES / sizeof RIDGES[0], N_PULLS = sizeof PULLS / sizeof PULLS[0] };
enum { N_FEW_ZERO = sizeof FEW_ZERO / sizeof FEW_ZERO[0], N_FEW_PULLS = sizeof FEW_PULLS / sizeof FEW_PULLS[0] };
_Static_assert(RIDGE_MOST_CANDIDATES == 2 * N_RIDGES + 1,
               "each towards zero and the trained weights, and the standard one");

enum { MOST_POSITIONS = 64, FEW_ROWS = 20 /* for each column */, MOST_COLUMNS = 4608 /* as of repaired layers */ };
static const double WORTH_CHANGING = 1e-3;
static const int64_t BATCH_BYTES = (int64_t)256 << 20, CHUNK_BYTES = (int64_t)8 << 20;

bool reap_ridge_looks(reap_ridge_rule rule, int64_t rows, int64_t columns) {
  return rule == REAP_RIDGE_EVERY_LAYER || (rule == REAP_RIDGE_FEW_ROWS && rows < FEW_ROWS * columns);
}

int64_t reap_ridge_columns(reap_ridge_rule rule) { return rule == REAP_RIDGE_GIVEN ? 0 : MOST_COLUMNS; }

/* ------------------------------------------------------------------ moments */

/* Moments of the channels kept alone. */
static int restrict_moments(const reap_moments *s, int64_t n_kept, const int64_t *kept, reap_moments **out) {
  REAP_TRY(reap_moments_create(n_kept, s->block, s->m, out));
  reap_moments *t = *out;
  for (int64_t i = 0; i < t->n; i++) {
    const int64_t from = kept[i / s->block] * s->block + i % s->block;
    for (int64_t j = 0; j < t->n; j++)
      t->gram[i * t->n + j] = s->gram[from * s->n + kept[j / s->block] * s->block + j % s->block];
    memcpy(t->cross + i * t->m, s->cross + from * s->m, (size_t)s->m * sizeof *s->cross);
    t->sum_x[i] = s->sum_x[from];
  }
  memcpy(t->sum_y, s->sum_y, (size_t)s->m * sizeof *s->sum_y);
  t->energy = s->energy;
  t->samples = s->samples;
  return REAP_OK;
}

static void restrict_weights(int64_t rows, int64_t n_kept, const int64_t *kept, const double *weights, double *out) {
  for (int64_t k = 0; k < n_kept; k++) memcpy(out + k * rows, weights + kept[k] * rows, (size_t)rows * sizeof *out);
}

int reap_ridge_pull(const reap_moments *s, double ridge, const double *trained, reap_moments **out) {
  REAP_TRY(reap_moments_create(s->channels, s->block, s->m, out));
  reap_moments *t = *out;
  memcpy(t->gram, s->gram, (size_t)(s->n * s->n) * sizeof *s->gram);
  memcpy(t->cross, s->cross, (size_t)(s->n * s->m) * sizeof *s->cross);
  memcpy(t->sum_x, s->sum_x, (size_t)s->n * sizeof *s->sum_x);
  memcpy(t->sum_y, s->sum_y, (size_t)s->m * sizeof *s->sum_y);
  t->energy = s->energy;
  t->samples = s->samples;
  for (int64_t i = 0; i < s->n; i++) {
    const double r = ridge * reap_normal_centred(s->gram[i * s->n + i], s->sum_x[i], 1.0 / (double)s->samples);
    if (r == 0) continue;
    for (int64_t j = 0; j < s->m; j++) {
      const double w = trained[i * s->m + j];
      t->cross[i * s->m + j] += r * w;
      t->energy += r * w * w;
    }
  }
  return REAP_OK;
}

/* ------------------------------------------------------------------ errors on held-out images */

typedef struct contest {
  const reap_comm *comm;
  reap_samples samples; /* at MOST_POSITIONS positions */
  int64_t n_kept, a, m; /* a: columns kept */
  const int64_t *kept;
  reap_rows rows;         /* of the channels kept */
  double *product;        /* [capacity, batch * m] */
  int batch;              /* candidates at a time */
  double *weights, *bias; /* [a, batch * m], [batch * m] row-major: candidates side by side */
  double *errors;         /* [blocks, batch] */
  int64_t rows_seen;
} contest;

static void contest_clear(contest *c) {
  reap_rows_clear(&c->rows);
  reap_free(&c->product);
  reap_free(&c->weights);
  reap_free(&c->bias);
  reap_free(&c->errors);
}

static contest contest_of(const reap_comm *comm, const reap_samples *samples, int64_t n_kept, const int64_t *kept) {
  contest c = {.comm = comm, .samples = *samples, .n_kept = n_kept, .kept = kept};
  c.a = n_kept * samples->layer.block;
  c.m = samples->layer.m;
  reap_sampling *s = &c.samples.sampling;
  if (s->positions <= 0 || s->positions > MOST_POSITIONS) s->positions = MOST_POSITIONS;
  return c;
}

/* For up to `most` candidates at a time. */
static int contest_create(contest *c, int most) {
  const int64_t fit = BATCH_BYTES / (8 * c->a * c->m);
  c->batch = fit < 1 ? 1 : fit > most ? most : (int)fit;
  const int64_t capacity = reap_rows_capacity(CHUNK_BYTES, c->a + c->batch * c->m, 64);
  REAP_TRY(reap_rows_create(&c->samples, c->n_kept, c->kept, c->m, capacity, &c->rows));
  REAP_TRY(reap_alloc(&c->product, capacity * c->batch * c->m, sizeof *c->product));
  REAP_TRY(reap_alloc(&c->weights, c->a * c->batch * c->m, sizeof *c->weights));
  REAP_TRY(reap_alloc(&c->bias, c->batch * c->m, sizeof *c->bias));
  return reap_alloc(&c->errors, c->samples.shard.blocks * c->batch, sizeof *c->errors);
}

/* Adds the errors of the rows at hand to the slots of their block. */
static int add_rows(contest *c, int64_t count, double *slots) {
  const int64_t width = c->batch * c->m;
  REAP_TRY(reap_dgemm('N', 'N', width, count, c->a, 1, c->weights, width, c->rows.x, c->a, 0, c->product, width));
  for (int64_t r = 0; r < count; r++)
    for (int k = 0; k < c->batch; k++) {
      double sum = 0;
      for (int64_t j = 0; j < c->m; j++) {
        const double d = c->rows.y[r * c->m + j] - c->product[r * width + k * c->m + j] - c->bias[k * c->m + j];
        sum += d * d;
      }
      slots[k] += sum;
    }
  c->rows_seen += count;
  return REAP_OK;
}

static int add_blocks(contest *c) {
  const reap_shard *shard = &c->samples.shard;
  memset(c->errors, 0, (size_t)(shard->blocks * c->batch) * sizeof *c->errors);
  c->rows_seen = 0;
  for (int64_t b = 0, count = 0; b < shard->last - shard->first; b++) {
    const reap_walk walk = {.part = REAP_HELD_OUT, .begin = b, .end = b + 1, .y_count = c->m};
    reap_rows_start(&c->rows, &walk);
    do {
      REAP_TRY(reap_rows_next(&c->rows, &count));
      if (count > 0) REAP_TRY(add_rows(c, count, c->errors + (shard->first + b) * c->batch));
    } while (count > 0);
  }
  return REAP_OK;
}

/* ------------------------------------------------------------------ candidates */

int reap_ridge_list(ridge_candidates kind, const ridge_choice *standard, ridge_choice *list) {
  int count = 0;
  list[count++] = *standard;
  for (int i = 0; kind == RIDGE_PULLS && i < N_PULLS; i++) list[count++] = (ridge_choice){PULLS[i], true};
  for (int i = 0; kind == RIDGE_FEW_ROWS && i < N_FEW_ZERO; i++) list[count++] = (ridge_choice){FEW_ZERO[i], false};
  for (int i = 0; kind == RIDGE_FEW_ROWS && i < N_FEW_PULLS; i++) list[count++] = (ridge_choice){FEW_PULLS[i], true};
  for (int i = 0; kind == RIDGE_ALL && i < N_RIDGES; i++) list[count++] = (ridge_choice){RIDGES[i], false};
  for (int i = 0; kind == RIDGE_ALL && i < N_RIDGES; i++) list[count++] = (ridge_choice){RIDGES[i], true};
  return count;
}

/* Weights of one candidate into column block k. */
static int solve_candidate(contest *c, const reap_moments *sub, const double *trained, const int64_t *all,
                           const ridge_choice *candidate, int k) {
  const int64_t width = c->batch * c->m;
  reap_moments *pulled = NULL;
  reap_path *path = NULL;
  int status = candidate->trained ? reap_ridge_pull(sub, candidate->ridge, trained, &pulled) : REAP_OK;
  const reap_gram gram = reap_gram_of(pulled ? pulled : sub);
  const reap_solve_options options = reap_solver_local(candidate->ridge);
  if (status == REAP_OK) status = reap_refit(&gram, c->n_kept, all, &options, c->samples.name, &path);
  for (int64_t i = 0; status == REAP_OK && i < c->a; i++)
    memcpy(c->weights + i * width + k * c->m, path->weights + i * c->m, (size_t)c->m * sizeof *path->weights);
  if (status == REAP_OK) memcpy(c->bias + k * c->m, path->bias, (size_t)c->m * sizeof *path->bias);
  reap_moments_destroy(&pulled);
  reap_path_destroy(&path);
  return status;
}

/* On rank 0. */
static int solve_batch(contest *c, const reap_moments *moments, const double *trained, const ridge_choice *list,
                       int count) {
  reap_moments *sub = NULL;
  double *kept_weights = NULL;
  int64_t *all = NULL;
  int status = REAP_OK;
  memset(c->weights, 0, (size_t)(c->a * c->batch * c->m) * sizeof *c->weights);
  memset(c->bias, 0, (size_t)(c->batch * c->m) * sizeof *c->bias);
  REAP_TRY_OR(restrict_moments(moments, c->n_kept, c->kept, &sub), done);
  REAP_TRY_OR(reap_alloc(&kept_weights, c->a * c->m, sizeof *kept_weights), done);
  REAP_TRY_OR(reap_alloc(&all, c->n_kept, sizeof *all), done);
  restrict_weights(sub->block * c->m, c->n_kept, c->kept, trained, kept_weights);
  for (int64_t k = 0; k < c->n_kept; k++) all[k] = k;
  for (int k = 0; status == REAP_OK && k < count; k++) status = solve_candidate(c, sub, kept_weights, all, &list[k], k);
done:
  reap_moments_destroy(&sub);
  reap_free(&kept_weights);
  reap_free(&all);
  return status;
}

/* Held-out errors of the first `count` weights of the batch. Collective. */
static int measure_weights(contest *c, int count, double *errors) {
  const int64_t blocks = c->samples.shard.blocks;
  REAP_TRY(reap_comm_agree(c->comm, add_blocks(c)));
  REAP_TRY(reap_comm_sum(c->comm, c->errors, blocks * c->batch)); /* each slot has one owner: exact */
  REAP_TRY(reap_comm_sum_int64(c->comm, &c->rows_seen, 1));
  for (int k = 0; k < count; k++) {
    errors[k] = 0;
    for (int64_t b = 0; b < blocks; b++) errors[k] += c->errors[b * c->batch + k];
  }
  return REAP_OK;
}

static int measure_batch(contest *c, const reap_moments *moments, const double *trained, const ridge_choice *list,
                         int count, double *errors) {
  int status = reap_comm_rank(c->comm) == 0 ? solve_batch(c, moments, trained, list, count) : REAP_OK;
  REAP_TRY(reap_comm_agree(c->comm, status));
  REAP_TRY(reap_comm_broadcast(c->comm, c->weights, (size_t)(c->a * c->batch * c->m) * sizeof *c->weights, 0));
  REAP_TRY(reap_comm_broadcast(c->comm, c->bias, (size_t)(c->batch * c->m) * sizeof *c->bias, 0));
  return measure_weights(c, count, errors);
}

int reap_ridge_measure(const reap_comm *comm, const reap_samples *samples, int64_t n_kept, const int64_t *kept,
                       const double *weights, const double *bias, double *error) {
  contest c = contest_of(comm, samples, n_kept, kept);
  int status = reap_comm_agree(comm, contest_create(&c, 1));
  if (status == REAP_OK) {
    memcpy(c.weights, weights, (size_t)(c.a * c.m) * sizeof *weights);
    memcpy(c.bias, bias, (size_t)c.m * sizeof *bias);
    status = measure_weights(&c, 1, error);
  }
  contest_clear(&c);
  return status;
}

int reap_ridge_choose(const reap_comm *comm, const reap_samples *samples, const reap_moments *moments,
                      const double *trained, int64_t n_kept, const int64_t *kept, ridge_candidates kind,
                      const ridge_choice *standard, ridge_choice *out, double *error) {
  contest c = contest_of(comm, samples, n_kept, kept);
  ridge_choice list[RIDGE_MOST_CANDIDATES];
  double errors[RIDGE_MOST_CANDIDATES] = {0};
  const int candidates = reap_ridge_list(kind, standard, list);
  *out = *standard;
  int status = reap_comm_agree(comm, contest_create(&c, candidates));
  for (int first = 0; status == REAP_OK && first < candidates; first += c.batch) {
    const int count = candidates - first < c.batch ? candidates - first : c.batch;
    status = measure_batch(&c, moments, trained, list + first, count, errors + first);
  }
  int best = 0;
  for (int k = 1; status == REAP_OK && c.rows_seen > 0 && k < candidates; k++)
    if (errors[k] < errors[best]) best = k;
  if (status == REAP_OK && !(errors[best] < (1 - WORTH_CHANGING) * errors[0])) best = 0;
  *out = list[best];
  *error = errors[best];
  contest_clear(&c);
  return status;
}
