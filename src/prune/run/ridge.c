/* The ridge by held-out error.
 *
 * Method. With few rows for many columns least squares fits the calibration images and nothing else. The ridge R keeps
 * it from that, and where it pulls towards the trained weights W0 instead of zero, what the rows do not tell stays as
 * it was trained:
 *
 *     min |Y - X W|^2 + tr((W - W0)' R (W - W0))      solved by  (G + R) W = C + R W0,
 *
 * which are the usual equations for the moments C + R W0 and E + tr(W0' R W0): selection and weights need nothing else
 * (ridge_pull). R is relative to each column's own centred scale, zero in dead columns.
 *
 * Candidates are ridges 1e-8 ... 10 with either target, or (RIDGE_PULLS: layers that lose no inputs, whose trained
 * weights are nearly right) the standard one and a few that pull towards the trained weights. They are compared on the
 * channels that the standard ridge keeps, each by a fresh solve on the images in the moments and its squared error on
 * the images held out (at MOST_POSITIONS positions of each: the same rows for all candidates, so that few serve). Every
 * block of images has a slot of its own in the sums, so that the choice does not depend on the number of ranks.
 *
 * The best then eliminates anew. What it keeps may hold columns that the images in the moments hardly move: their own
 * scale, and with it the ridge, is tiny, and what they do on other images is not seen. So the result has to stand the
 * same test (ridge_measure); where it does not, the first choice of channels stays and takes the new ridge's weights.
 *
 * Cost: K = 21 (or 6) solves of a^3 / 3 + 2 a^2 m on rank 0 (a columns kept), and 2 K a m for each held-out row.
 * Memory: weights of as many candidates at a time as fit BATCH_BYTES, and a chunk of rows.
 */
#include "ridge.h"

#include <math.h>
#include <string.h>

#include "linalg/dense.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "reap/solver.h"
#include "stats/patches.h"

static const double RIDGES[] = {1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10};
static const double PULLS[] = {1e-5, 1e-4, 1e-3, 1e-2, 1e-1};
enum { N_RIDGES = sizeof RIDGES / sizeof RIDGES[0], N_PULLS = sizeof PULLS / sizeof PULLS[0] };
_Static_assert(RIDGE_MOST_CANDIDATES == 2 * N_RIDGES + 1,
               "each towards zero and the trained weights, and the standard one");

enum { MOST_POSITIONS = 64 };
static const double WORTH_CHANGING = 1e-3;
static const double DEAD = 1e-12; /* as in the normal equations */
static const int64_t BATCH_BYTES = (int64_t)256 << 20, CHUNK_BYTES = (int64_t)8 << 20;

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

int ridge_pull(const reap_moments *s, double ridge, const double *trained, reap_moments **out) {
  REAP_TRY(reap_moments_create(s->channels, s->block, s->m, out));
  reap_moments *t = *out;
  memcpy(t->gram, s->gram, (size_t)(s->n * s->n) * sizeof *s->gram);
  memcpy(t->cross, s->cross, (size_t)(s->n * s->m) * sizeof *s->cross);
  memcpy(t->sum_x, s->sum_x, (size_t)s->n * sizeof *s->sum_x);
  memcpy(t->sum_y, s->sum_y, (size_t)s->m * sizeof *s->sum_y);
  t->energy = s->energy;
  t->samples = s->samples;
  for (int64_t i = 0; i < s->n; i++) {
    const double raw = s->gram[i * s->n + i], centred = raw - s->sum_x[i] * s->sum_x[i] * (1.0 / (double)s->samples);
    if (centred <= DEAD * raw) continue;
    const double r = ridge * centred;
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
  const rows_source *rows;
  reap_sampling sampling;
  int64_t n_kept, a, m; /* a: columns kept */
  const int64_t *kept;
  int64_t per_image, capacity, filled;
  int64_t *positions;
  float *x, *y, *scratch; /* [capacity, n], [capacity, m], [n] */
  double *kept_x;         /* [capacity, a] */
  double *product;        /* [capacity, batch * m] */
  int batch;              /* candidates at a time */
  double *weights, *bias; /* [a, batch * m], [batch * m] row-major: candidates side by side */
  double *errors;         /* [blocks, batch] */
  int64_t samples;
} contest;

static void contest_clear(contest *c) {
  reap_free(&c->positions);
  reap_free(&c->x);
  reap_free(&c->y);
  reap_free(&c->scratch);
  reap_free(&c->kept_x);
  reap_free(&c->product);
  reap_free(&c->weights);
  reap_free(&c->bias);
  reap_free(&c->errors);
}

static contest contest_of(const reap_comm *comm, const rows_source *rows, int64_t n_kept, const int64_t *kept) {
  const reap_layer *layer = rows->layer;
  return (contest){
      .comm = comm, .rows = rows, .n_kept = n_kept, .a = n_kept * layer->block, .m = layer->m, .kept = kept};
}

/* For up to `most` candidates at a time. */
static int contest_create(contest *c, int most) {
  const reap_layer *layer = c->rows->layer;
  const int64_t fit = BATCH_BYTES / (8 * c->a * c->m);
  c->batch = fit < 1 ? 1 : fit > most ? most : (int)fit;
  c->sampling = *c->rows->sampling;
  if (c->sampling.positions <= 0 || c->sampling.positions > MOST_POSITIONS) c->sampling.positions = MOST_POSITIONS;
  c->per_image = reap_patches_per_image(layer, &c->sampling);
  c->capacity = CHUNK_BYTES / (8 * (c->a + c->batch * c->m));
  if (c->capacity < 64) c->capacity = 64;
  REAP_TRY(reap_alloc(&c->positions, c->per_image, sizeof *c->positions));
  REAP_TRY(reap_alloc(&c->x, c->capacity * layer->n, sizeof *c->x));
  REAP_TRY(reap_alloc(&c->y, c->capacity * c->m, sizeof *c->y));
  REAP_TRY(reap_alloc(&c->scratch, layer->n, sizeof *c->scratch));
  REAP_TRY(reap_alloc(&c->kept_x, c->capacity * c->a, sizeof *c->kept_x));
  REAP_TRY(reap_alloc(&c->product, c->capacity * c->batch * c->m, sizeof *c->product));
  REAP_TRY(reap_alloc(&c->weights, c->a * c->batch * c->m, sizeof *c->weights));
  REAP_TRY(reap_alloc(&c->bias, c->batch * c->m, sizeof *c->bias));
  return reap_alloc(&c->errors, c->rows->shard->blocks * c->batch, sizeof *c->errors);
}

/* Adds the errors of the rows gathered to the slots of their block. */
static int flush(contest *c, double *slots) {
  const int64_t n = c->rows->layer->n, block = c->rows->layer->block, width = c->batch * c->m;
  for (int64_t r = 0; r < c->filled; r++)
    for (int64_t i = 0; i < c->a; i++)
      c->kept_x[r * c->a + i] = (double)c->x[r * n + c->kept[i / block] * block + i % block];
  REAP_TRY(reap_dgemm('N', 'N', width, c->filled, c->a, 1, c->weights, width, c->kept_x, c->a, 0, c->product, width));
  for (int64_t r = 0; r < c->filled; r++)
    for (int k = 0; k < c->batch; k++) {
      double sum = 0;
      for (int64_t j = 0; j < c->m; j++) {
        const double d = (double)c->y[r * c->m + j] - c->product[r * width + k * c->m + j] - c->bias[k * c->m + j];
        sum += d * d;
      }
      slots[k] += sum;
    }
  c->samples += c->filled;
  c->filled = 0;
  return REAP_OK;
}

static int add_image(contest *c, int64_t image, const float *x, const float *y, double *slots) {
  const reap_layer *layer = c->rows->layer;
  reap_patches_positions(layer, c->rows->name, &c->sampling, image, c->positions);
  for (int64_t done = 0; done < c->per_image;) {
    int64_t count = c->per_image - done;
    if (count > c->capacity - c->filled) count = c->capacity - c->filled;
    reap_patches_gather(layer, x, y, count, c->positions + done, c->scratch, c->x + c->filled * layer->n,
                        c->y + c->filled * layer->m);
    done += count;
    c->filled += count;
    if (c->filled == c->capacity) REAP_TRY(flush(c, slots));
  }
  return REAP_OK;
}

static int add_blocks(contest *c) {
  const reap_shard *shard = c->rows->shard;
  memset(c->errors, 0, (size_t)(shard->blocks * c->batch) * sizeof *c->errors);
  c->samples = 0;
  for (int64_t b = shard->first; b < shard->last; b++) {
    int64_t first, count;
    double *slots = c->errors + b * c->batch;
    reap_shard_block(shard, b, &first, &count);
    const float *x = NULL, *y = NULL;
    REAP_TRY(c->rows->input(c->rows->context, b - shard->first, &x));
    REAP_TRY(c->rows->output(c->rows->context, b - shard->first, &y));
    for (int64_t i = 0; i < count; i++)
      if (reap_split_holds_out(REAP_SPLIT_TENTH, first + i))
        REAP_TRY(add_image(c, first + i, x + i * reap_patches_input_size(c->rows->layer),
                           y + i * reap_patches_output_size(c->rows->layer), slots));
    if (c->filled > 0) REAP_TRY(flush(c, slots));
  }
  return REAP_OK;
}

/* ------------------------------------------------------------------ candidates */

/* The standard choice first, so that it stays where others are no better. Their number. */
static int list_candidates(ridge_candidates kind, const ridge_choice *standard, ridge_choice *list) {
  int count = 0;
  list[count++] = *standard;
  for (int i = 0; kind == RIDGE_PULLS && i < N_PULLS; i++) list[count++] = (ridge_choice){PULLS[i], true};
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
  int status = candidate->trained ? ridge_pull(sub, candidate->ridge, trained, &pulled) : REAP_OK;
  if (status == REAP_OK)
    status = reap_refit(pulled ? pulled : sub, c->n_kept, all, candidate->ridge, c->rows->name, &path);
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
  const int64_t blocks = c->rows->shard->blocks;
  REAP_TRY(reap_comm_agree(c->comm, add_blocks(c)));
  REAP_TRY(reap_comm_sum(c->comm, c->errors, blocks * c->batch)); /* each slot has one owner: exact */
  REAP_TRY(reap_comm_sum_int64(c->comm, &c->samples, 1));
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

int ridge_measure(const reap_comm *comm, const rows_source *rows, int64_t n_kept, const int64_t *kept,
                  const double *weights, const double *bias, double *error) {
  contest c = contest_of(comm, rows, n_kept, kept);
  int status = reap_comm_agree(comm, contest_create(&c, 1));
  if (status == REAP_OK) {
    memcpy(c.weights, weights, (size_t)(c.a * c.m) * sizeof *weights);
    memcpy(c.bias, bias, (size_t)c.m * sizeof *bias);
    status = measure_weights(&c, 1, error);
  }
  contest_clear(&c);
  return status;
}

int ridge_choose(const reap_comm *comm, const rows_source *rows, const reap_moments *moments, const double *trained,
                 int64_t n_kept, const int64_t *kept, ridge_candidates kind, const ridge_choice *standard,
                 ridge_choice *out, double *error) {
  contest c = contest_of(comm, rows, n_kept, kept);
  ridge_choice list[RIDGE_MOST_CANDIDATES];
  double errors[RIDGE_MOST_CANDIDATES];
  const int candidates = list_candidates(kind, standard, list);
  *out = *standard;
  int status = reap_comm_agree(comm, contest_create(&c, candidates));
  for (int first = 0; status == REAP_OK && first < candidates; first += c.batch) {
    const int count = candidates - first < c.batch ? candidates - first : c.batch;
    status = measure_batch(&c, moments, trained, list + first, count, errors + first);
  }
  int best = 0;
  for (int k = 1; status == REAP_OK && c.samples > 0 && k < candidates; k++)
    if (errors[k] < errors[best]) best = k;
  if (status == REAP_OK && !(errors[best] < (1 - WORTH_CHANGING) * errors[0])) best = 0;
  *out = list[best];
  *error = errors[best];
  contest_clear(&c);
  return status;
}
