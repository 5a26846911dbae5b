/* Greedy elimination in sample space: elimination.c's for a layer with fewer rows than columns.
 *
 * Method. In the notation of sample_space.c, with P = Y Y', B = A P A and Z_j the columns of channel j,
 *
 *     h_j = 1 - Z_j' A Z_j      r H_jj
 *     K_j = Z_j' B Z_j          (W W')_jj
 *     dJ_j = r tr(h_j^-1 K_j)
 *
 * are the removal costs. Without channel s, h_s = L L', the matrix M loses Z_s Z_s', and
 *
 *     V = A Z_s L^-T      Q = A P V + V (V'P V) / 2
 *     A <- A + V V'       B <- B + Q V' + V Q'      J <- J + r tr(V'P V)
 *     h_j <- h_j - (Z_j'V) (Z_j'V)'                 K_j <- K_j + (Z_j'Q) (Z_j'V)' + (Z_j'V) (Z_j'Q)'
 *
 * which for h and K is what channel_blocks.c does. Outputs enter by P alone. The plain error is r^2 tr(B).
 *
 * Costs that differ by less than 1e-9 J count as equal. In elimination.c that is 1e-9 E, which J's rounding is relative
 * to there. Where the rows are fitted to the last digit J is some r E, and all channels would tie; here it is still
 * told which of them the weights need least.
 *
 * Ranks keep the blocks of a share of the channels, in whole pieces of a fixed size; rows, A and B are the same on all.
 * No sum depends on the share: channels, errors and weights are the same on any number of ranks, to the last bit where
 * processors are alike. When an eighth of the channels has gone, M, A, B and the blocks are formed afresh from those
 * left.
 *
 * Cost of a removal with n columns left: (4 N n b + 6 n b^2 + 5 n b^2) over the ranks, 12 N^2 b on each, and a sum of
 * the costs over the ranks. A fresh start: 5 N^2 n + 4 N n b, and 5 N^3. Memory: N n on every rank, 2 n b over them.
 *
 * Failure modes. h_j is a difference: digits are lost where a channel's columns are the only ones to span some
 * direction of the rows, at worst all but those of r / b. A and B drift as in any recursion; J of every fresh start is
 * compared with the recursion's: path->drift, on which solver.c acts. Both are benign as long as columns outnumber
 * rows: the elimination stops where the next channel would leave fewer, and elimination.c goes on with a small dual
 * system.
 */
#include <math.h>
#include <string.h>

#include "base/numbers.h"
#include "channel_blocks.h"
#include "linalg/dense.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "sample_space.h"

static const double TIE = 1e-9;
enum { DEAD_PART = 8, PIECE_COLUMNS = 256, LANES = 8 };

typedef struct elimination {
  sample_space space;
  const reap_comm *comm;
  int64_t rows, block, slots; /* channels at the last start */
  int64_t piece;              /* channels that go through a product together */
  int64_t own_first, own_slots, own_most;
  int64_t n_alive, n_dead; /* channels left, and those of them without a column that lives */
  int64_t live;            /* columns left that are not dead */
  int64_t *channel;        /* [slots] */
  bool *alive;             /* [slots] */
  double *cost;            /* [slots] */
  double *outer;           /* P [rows, rows] */
  double *inverse;         /* A [rows, rows] */
  double *middle;          /* B [rows, rows] */
  double *v;               /* V and -Q side by side [rows, 2 block] */
  double *scratch;         /* the larger of [rows, 2 block], [rows, piece * block] and [rows, rows] */
  double *columns;         /* own Z'V and -Z'Q side by side [own columns, 2 block], also h and K */
  channel_blocks blocks;
  double error;
} elimination;

static void clear(elimination *e) {
  reap_sample_space_clear(&e->space);
  reap_free(&e->channel);
  reap_free(&e->alive);
  reap_free(&e->cost);
  reap_free(&e->outer);
  reap_free(&e->inverse);
  reap_free(&e->middle);
  reap_free(&e->v);
  reap_free(&e->scratch);
  reap_free(&e->columns);
  reap_channel_blocks_clear(&e->blocks);
}

/* Whole pieces of the slots for this rank. */
static void share(elimination *e) {
  const int rank = e->comm ? reap_comm_rank(e->comm) : 0, ranks = e->comm ? reap_comm_size(e->comm) : 1;
  const int64_t pieces = (e->slots + e->piece - 1) / e->piece;
  int64_t first, last;
  reap_comm_share(pieces, rank, ranks, &first, &last);
  e->own_first = reap_smaller(first * e->piece, e->slots);
  e->own_slots = reap_smaller(last * e->piece, e->slots) - e->own_first;
  e->own_most = reap_smaller((pieces + ranks - 1) / ranks * e->piece, e->slots);
}

static int create(const reap_normal_equations *equations, const reap_comm *comm, elimination *e) {
  const int64_t b = equations->gram.block, n = equations->gram.samples, slots = equations->slots;
  int64_t square = 0, size = 0;
  memset(e, 0, sizeof *e);
  e->comm = comm;
  e->rows = n;
  e->block = b;
  e->slots = e->n_alive = slots;
  e->piece = (PIECE_COLUMNS / b / LANES + 1) * LANES;
  e->n_dead = equations->dead;
  share(e);
  REAP_TRY(reap_multiply(n, n, &square));
  REAP_TRY(reap_product((int64_t[]){e->own_most, b, 2 * b}, 3, &size));
  REAP_TRY(reap_sample_space_create(equations, slots, &e->space));
  REAP_TRY(reap_alloc(&e->channel, slots, sizeof *e->channel));
  REAP_TRY(reap_alloc(&e->alive, slots, sizeof *e->alive));
  REAP_TRY(reap_alloc(&e->cost, slots, sizeof *e->cost));
  REAP_TRY(reap_alloc(&e->outer, square, sizeof *e->outer));
  REAP_TRY(reap_alloc(&e->inverse, square, sizeof *e->inverse));
  REAP_TRY(reap_alloc(&e->middle, square, sizeof *e->middle));
  REAP_TRY(reap_alloc(&e->v, 2 * b * (n + b), sizeof *e->v));
  REAP_TRY(reap_alloc(&e->scratch, reap_larger(e->piece * b, n) * n, sizeof *e->scratch));
  REAP_TRY(reap_alloc(&e->columns, size, sizeof *e->columns));
  for (int64_t k = 0; k < slots; k++) e->channel[k] = equations->channel[k];
  for (int64_t k = 0; k < slots; k++) e->alive[k] = true;
  REAP_TRY(reap_dsyrk_lower('T', n, equations->gram.m, 1, e->space.y, equations->gram.m, 0, e->outer, n));
  reap_mirror_lower(n, e->outer, n);
  return reap_channel_blocks_create(e->own_most, b, &e->blocks);
}

/* ------------------------------------------------------------------ a fresh start */

/* Z_j' S Z_j of own slots for a matrix S, or 1 - Z_j' S Z_j: out [own slots][block * block]. */
static int form_blocks(elimination *e, const double *matrix, bool from_one, double *out) {
  const int64_t b = e->block, rows = e->rows, end = e->own_first + e->own_slots;
  for (int64_t first = e->own_first; first < end; first += e->piece) {
    const int64_t count = end - first < e->piece ? end - first : e->piece;
    const double *z = e->space.z + first * b * rows;
    REAP_TRY(reap_dgemm('N', 'N', rows, count * b, rows, 1, matrix, rows, z, rows, 0, e->scratch, rows));
    for (int64_t k = 0; k < count; k++, out += b * b) {
      REAP_TRY(reap_dgemm('T', 'N', b, b, rows, from_one ? -1 : 1, z + k * b * rows, rows, e->scratch + k * b * rows,
                          rows, 0, out, b));
      for (int64_t i = 0; from_one && i < b; i++) out[i * (b + 1)] += 1;
    }
  }
  return REAP_OK;
}

/* A and B, J, and the blocks of own slots. Local. */
static int form(elimination *e) {
  const int64_t rows = e->rows, square = rows * rows;
  memcpy(e->inverse, e->space.matrix, (size_t)square * sizeof *e->inverse);
  REAP_TRY(reap_dpotri_lower(rows, e->inverse, rows));
  reap_mirror_lower(rows, e->inverse, rows);
  double trace = 0;
  for (int64_t i = 0; i < square; i++) trace += e->inverse[i] * e->outer[i];
  e->error = fmax(e->space.equations->ridge * trace, 0);
  REAP_TRY(reap_dgemm('N', 'N', rows, rows, rows, 1, e->outer, rows, e->inverse, rows, 0, e->scratch, rows));
  REAP_TRY(reap_dgemm('N', 'N', rows, rows, rows, 1, e->inverse, rows, e->scratch, rows, 0, e->middle, rows));
  double *dual = e->columns, *product = e->columns + e->own_slots * e->block * e->block;
  REAP_TRY(form_blocks(e, e->inverse, true, dual));
  REAP_TRY(form_blocks(e, e->middle, false, product));
  reap_channel_blocks_load(&e->blocks, e->own_slots, dual, product);
  return REAP_OK;
}

/* Drops channels that left, and forms everything afresh. Collective. */
static int start(elimination *e, reap_path *path, bool first, bool *singular) {
  const double before = e->error;
  int64_t left = 0;
  for (int64_t s = 0; s < e->slots; s++)
    if (e->alive[s]) e->channel[left++] = e->channel[s];
  e->slots = left;
  for (int64_t s = 0; s < left; s++) e->alive[s] = true;
  share(e);
  int status = reap_sample_space_factor(&e->space, e->slots, e->channel, singular);
  e->live = e->space.live;
  if (status == REAP_OK && !*singular) status = form(e);
  REAP_TRY(reap_comm_agree(e->comm, status));
  int64_t any = *singular;
  if (e->comm) REAP_TRY(reap_comm_max_int64(e->comm, &any, 1));
  *singular = any != 0;
  if (first) path->rcond = e->space.rcond;
  if (!first && !*singular)
    path->drift = fmax(path->drift, reap_relative_error(fabs(before - e->error), e->space.equations->energy));
  return REAP_OK;
}

/* ------------------------------------------------------------------ a removal */

/* The cheapest channel, or -1: costs are no numbers. Every rank computes those of its own ones. Collective. */
static int choose(elimination *e, int64_t *slot) {
  memset(e->cost, 0, (size_t)e->slots * sizeof *e->cost);
  int status = reap_channel_blocks_costs(&e->blocks, e->cost + e->own_first);
  for (int64_t s = 0; s < e->slots; s++) e->cost[s] = e->alive[s] ? e->cost[s] * e->space.equations->ridge : 0;
  REAP_TRY(reap_comm_agree(e->comm, status));
  if (e->comm) REAP_TRY(reap_comm_sum(e->comm, e->cost, e->slots));
  *slot = reap_channel_blocks_cheapest(e->slots, e->alive, e->channel, e->cost, TIE * e->error);
  return e->comm ? reap_comm_broadcast(e->comm, slot, sizeof *slot, 0) : REAP_OK;
}

/* V, and -Q behind it, of the channel whose columns are z; *growth of J. *info as for the factorisation of h. */
static int form_columns(elimination *e, const double *z, double *growth, int64_t *info) {
  const int64_t b = e->block, n = e->rows;
  double *v = e->v, *q = v + n * b, *lower = q + n * b, *square = lower + b * b, *product = e->scratch;
  REAP_TRY(reap_dgemm('N', 'N', n, b, n, 1, e->inverse, n, z, n, 0, v, n));
  REAP_TRY(reap_dgemm('T', 'N', b, b, n, -1, z, n, v, n, 0, lower, b));
  for (int64_t i = 0; i < b; i++) lower[i * (b + 1)] += 1;
  REAP_TRY(reap_dpotrf_lower(b, lower, b, info));
  if (*info != 0) return REAP_OK;
  REAP_TRY(reap_dtrsm('R', 'L', 'T', n, b, lower, b, v, n));
  REAP_TRY(reap_dgemm('N', 'N', n, b, n, 1, e->outer, n, v, n, 0, product, n));
  REAP_TRY(reap_dgemm('T', 'N', b, b, n, 1, v, n, product, n, 0, square, b));
  *growth = 0;
  for (int64_t i = 0; i < b; i++) *growth += square[i * (b + 1)] * e->space.equations->ridge;
  REAP_TRY(reap_dgemm('N', 'N', n, b, n, -1, e->inverse, n, product, n, 0, q, n));
  return reap_dgemm('N', 'N', n, b, b, -0.5, v, n, square, b, 1, q, n);
}

/* A, B and the blocks of own slots take V and -Q. */
static int update(elimination *e) {
  const int64_t b = e->block, n = e->rows, own = e->own_slots * b;
  const double *v = e->v, *q = v + n * b;
  REAP_TRY(reap_dgemm('N', 'T', n, n, b, 1, v, n, v, n, 1, e->inverse, n));
  REAP_TRY(reap_dgemm('N', 'T', n, n, b, -1, q, n, v, n, 1, e->middle, n));
  REAP_TRY(reap_dgemm('N', 'T', n, n, b, -1, v, n, q, n, 1, e->middle, n));
  for (int64_t k = 0; k < e->own_slots; k += e->piece) {
    const int64_t count = (e->own_slots - k < e->piece ? e->own_slots - k : e->piece) * b;
    REAP_TRY(reap_dgemm('T', 'N', count, 2 * b, n, 1, e->space.z + (e->own_first + k) * b * n, n, v, n, 0,
                        e->columns + k * b, own));
  }
  return own == 0 ? REAP_OK : reap_channel_blocks_update(&e->blocks, e->columns, own, e->columns + own * b, own);
}

/* Takes the channel of `slot` out; *lost: its block is not positive definite. Collective. */
static int take_out(elimination *e, int64_t slot, bool *lost) {
  const int64_t first = e->channel[slot] * e->block;
  double growth = 0;
  int64_t info = 0;
  const int status = form_columns(e, e->space.z + slot * e->block * e->rows, &growth, &info);
  REAP_TRY(reap_comm_agree(e->comm, status));
  if (e->comm) REAP_TRY(reap_comm_max_int64(e->comm, &info, 1));
  *lost = info != 0;
  if (*lost) return REAP_OK;
  e->error += growth;
  e->alive[slot] = false;
  e->n_alive--;
  int64_t live = 0;
  for (int64_t i = first; i < first + e->block; i++) live += e->space.equations->scale[i] != 0;
  e->live -= live;
  e->n_dead -= live == 0;
  return reap_comm_agree(e->comm, update(e));
}

static double trace(int64_t n, const double *matrix) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += matrix[i * (n + 1)];
  return sum;
}

/* The next channel into the path. Collective. */
static int step(elimination *e, int64_t at, reap_path *path, bool *singular) {
  const double ridge = e->space.equations->ridge;
  for (int attempt = 0; attempt < 2; attempt++) {
    int64_t slot = -1;
    bool lost = true;
    REAP_TRY(choose(e, &slot));
    if (slot >= 0) REAP_TRY(take_out(e, slot, &lost));
    if (!lost) {
      path->order[at] = e->channel[slot];
      path->error[at] = e->error;
      path->error_plain[at] = fmax(ridge * ridge * trace(e->rows, e->middle), 0);
      return REAP_OK;
    }
    path->refreshes++;
    REAP_TRY(start(e, path, false, singular));
    if (*singular) return REAP_OK;
  }
  *singular = true;
  return REAP_OK;
}

/* Whether the system stays larger than the rows without another channel; dead ones can go in any case. */
static bool goes_on(const elimination *e, int64_t count, const reap_path *path) {
  return count < path->n_removed && (e->live - e->block >= e->rows || e->n_dead > 0);
}

int reap_sample_space_eliminate(const reap_normal_equations *equations, const reap_comm *comm, int64_t interval,
                                reap_path *path, int64_t *count, bool *singular) {
  elimination e;
  int status = reap_comm_agree(comm, create(equations, comm, &e));
  *count = 0;
  path->drift = 0;
  if (status == REAP_OK) status = start(&e, path, true, singular);
  while (status == REAP_OK && !*singular && goes_on(&e, *count, path)) {
    const bool due = interval > 0 && *count > 0 && *count % interval == 0;
    if (due || (e.slots - e.n_alive) * DEAD_PART >= e.slots) status = start(&e, path, false, singular);
    if (status == REAP_OK && !*singular) status = step(&e, *count, path, singular);
    if (status == REAP_OK && !*singular) ++*count;
  }
  clear(&e);
  return status;
}
