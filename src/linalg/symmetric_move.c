/* Moves the last slots of a distributed matrix into the places of removed ones.
 *
 * Every pair of a slot that moves and one that is there afterwards is a block that may change its rank. All ranks walk
 * through these blocks in one order, each packs what it has for the others and takes what it is to have, with an
 * MPI_Alltoallv for some hundred columns in between. Only rows and columns of removed slots are overwritten, and no
 * source is among them.
 *
 * Cost: every rank visits count x slots blocks; those that move are sent once.
 */
#include <limits.h>
#include <string.h>

#include "base/numbers.h"
#include "comm/waiting.h"
#include "reap/comm.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "symmetric_segment.h"

typedef struct moves {
  reap_symmetric *s;
  reap_triangle triangle;
  int64_t slots, count;
  const int64_t *from, *to;
  int64_t first, last; /* the moves under way */
  int64_t *origin;     /* [slots] where each slot stood */
  int *out, *in;       /* [ranks] elements to and from each; then where they start */
  int *out_at, *in_at;
  double *sent, *received, *block;
} moves;

/* Blocks of some slots from i on in the columns of move k: where they are and where they go. */
typedef struct step {
  int64_t k, i;
  symmetric_segment from, to;
} step;

static const reap_comm *comm_of(const moves *v) { return reap_grid_comm(v->s->grid); }

/* The step behind *g, which starts as {.k = v->first}; false behind the last. */
static bool next_step(const moves *v, step *g) {
  int64_t run = 1;
  g->i += g->to.count;
  if (g->i >= v->slots) {
    g->k++;
    g->i = 0;
  }
  if (g->k >= v->last || v->slots == 0) return false;
  const int64_t origin = v->origin[g->i];
  g->to = reap_symmetric_segment_at(v->s, v->triangle, v->slots, g->i, v->to[g->k]);
  g->from = reap_symmetric_segment_at(v->s, v->triangle, v->s->slots, origin, v->from[g->k]);
  const int64_t most = reap_smaller(g->to.count, g->from.count);
  while (run < most && v->origin[g->i + run] == origin + run) run++;
  g->to.count = g->from.count = run;
  return true;
}

static int64_t size_of(const moves *v, const step *g) { return g->to.count * v->s->block * v->s->block; }

/* What this rank sends and receives; nothing goes to itself. */
static int count_elements(moves *v) {
  const int rank = reap_comm_rank(comm_of(v)), ranks = reap_comm_size(comm_of(v));
  int64_t sent = 0, received = 0;
  memset(v->out, 0, (size_t)(4 * ranks) * sizeof *v->out);
  for (step g = {.k = v->first}; next_step(v, &g);) {
    if (g.from.owner == g.to.owner) continue;
    if (g.from.owner == rank) sent += size_of(v, &g);
    if (g.to.owner == rank) received += size_of(v, &g);
    if (sent > INT_MAX || received > INT_MAX)
      return reap_error(REAP_ERR_RESOURCE, "%lld slots that move do not fit one message", (long long)v->count);
    if (g.from.owner == rank) v->out[g.to.owner] += (int)size_of(v, &g);
    if (g.to.owner == rank) v->in[g.from.owner] += (int)size_of(v, &g);
  }
  for (int r = 1; r < ranks; r++) {
    v->out_at[r] = v->out_at[r - 1] + v->out[r - 1];
    v->in_at[r] = v->in_at[r - 1] + v->in[r - 1];
  }
  REAP_TRY(reap_alloc(&v->sent, sent, sizeof *v->sent));
  return reap_alloc(&v->received, received, sizeof *v->received);
}

static int open_moves(moves *v) {
  const int ranks = reap_comm_size(comm_of(v));
  REAP_TRY(reap_alloc(&v->origin, v->slots, sizeof *v->origin));
  REAP_TRY(reap_alloc(&v->out, 4 * ranks, sizeof *v->out));
  REAP_TRY(reap_alloc(&v->block, v->s->piece * v->s->block, sizeof *v->block));
  v->in = v->out + ranks;
  v->out_at = v->in + ranks;
  v->in_at = v->out_at + ranks;
  for (int64_t i = 0, k = 0; i < v->slots; i++) v->origin[i] = k < v->count && v->to[k] == i ? v->from[k++] : i;
  return REAP_OK;
}

static void close_moves(moves *v) {
  reap_free(&v->origin);
  reap_free(&v->out);
  reap_free(&v->block);
}

/* Packs for the others; what stays on this rank moves at once. */
static void pack(moves *v) {
  const int rank = reap_comm_rank(comm_of(v));
  for (step g = {.k = v->first}; next_step(v, &g);) {
    const int64_t ld = g.to.count * v->s->block;
    if (g.from.owner != rank) continue;
    if (g.to.owner == rank) {
      reap_symmetric_segment_read(v->s, v->triangle, &g.from, v->from[g.k], v->block, ld);
      reap_symmetric_segment_write(v->s, v->triangle, &g.to, v->to[g.k], v->block, ld);
      continue;
    }
    reap_symmetric_segment_read(v->s, v->triangle, &g.from, v->from[g.k], v->sent + v->out_at[g.to.owner], ld);
    v->out_at[g.to.owner] += (int)size_of(v, &g);
  }
  for (int r = 0; r < reap_comm_size(comm_of(v)); r++) v->out_at[r] -= v->out[r];
}

static void unpack(moves *v) {
  const int rank = reap_comm_rank(comm_of(v));
  for (step g = {.k = v->first}; next_step(v, &g);) {
    if (g.to.owner != rank || g.from.owner == rank) continue;
    reap_symmetric_segment_write(v->s, v->triangle, &g.to, v->to[g.k], v->received + v->in_at[g.from.owner],
                                 g.to.count * v->s->block);
    v->in_at[g.from.owner] += (int)size_of(v, &g);
  }
}

/* The moves first .. last. */
static int move_some(moves *v) {
  int status = reap_comm_agree(comm_of(v), count_elements(v));
  if (status == REAP_OK) {
    pack(v);
    status = REAP_COMM_CALL("values of other ranks", MPI_Alltoallv, v->sent, v->out, v->out_at, MPI_DOUBLE, v->received,
                            v->in, v->in_at, MPI_DOUBLE, reap_comm_mpi(comm_of(v)));
  }
  if (status == REAP_OK) unpack(v);
  reap_free(&v->sent);
  reap_free(&v->received);
  return status;
}

int reap_symmetric_cyclic_move(reap_symmetric *s, reap_triangle triangle, int64_t slots, int64_t count,
                               const int64_t *from, const int64_t *to) {
  enum { AT_ONCE = 512 /* columns, so that what is sent stays small */ };
  moves v = {.s = s, .triangle = triangle, .slots = slots, .count = count, .from = from, .to = to};
  int status = reap_comm_agree(comm_of(&v), open_moves(&v));
  for (; status == REAP_OK && v.first < count; v.first = v.last) {
    v.last = reap_smaller(v.first + 1 + (AT_ONCE - 1) / s->block, count);
    status = move_some(&v);
  }
  close_moves(&v);
  return status;
}
