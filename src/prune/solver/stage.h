/* A stage of the elimination: a look-ahead to the channels that go next, and their columns of V and Q, formed together;
 * private to src/prune. The scheme is at the top of elimination.c. */
#ifndef REAP_PRUNE_SOLVER_STAGE_H
#define REAP_PRUNE_SOLVER_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "channel_blocks.h"
#include "stage_tiles.h"

struct dual_system;

/* Channels that are likely to go, and H and K = W W' between them as of the start of the stage. */
typedef struct candidates {
  int64_t most, count;
  int64_t *slot;          /* [most], ascending */
  int64_t *first;         /* [ranks + 1] those of rank r are first[r] .. first[r + 1] */
  int64_t *channel;       /* [most] */
  bool *alive;            /* [most] */
  double *cost;           /* [most] */
  double *dual, *product; /* H_SS and K_SS [count * block, count * block], both triangles, leading dimension ld */
  double *v, *q; /* their rows of the stage's columns of V and Q [count * block, width], leading dimension ld */
  int64_t ld;
  channel_blocks blocks;
  stage_tiles tiles;
  double *pivot; /* see stage_tiles.h */
} candidates;

typedef struct stage {
  int64_t block, width; /* columns at most, whole channels */
  int64_t count, next;  /* channels looked ahead to, and how many of them have gone */
  int64_t limit;        /* of the look-ahead, in channels: shorter after it was wrong */
  int64_t *slot;        /* [width / block] in the order in which they are to go */
  double
      *triangle; /* their rows of V in the stage, T: H at them is T T' [width, width], lower, leading dimension width */
  double *squares;         /* Z Z' = T^-1 K T^-T, K at them [width, width], leading dimension width */
  double *v_rows, *q_rows; /* their rows of V before the stage, and of Q by product: [count * block, start] */
  double *z;               /* Z' [m, count * block] of Z = T^-1 W at them, by weights */
  candidates seen;
} stage;

int reap_stage_create(int64_t slots, int64_t block, int ranks, int64_t width, int64_t removed, stage *out);
void reap_stage_clear(stage *stage);

/* Discards the look-ahead. Local. */
void reap_stage_forget(stage *stage);

/* Looks ahead to the channels that go next, `pivot` the first of them, at most `left`, and forms their columns of V and
 * Q behind the d->k columns there are, own rows. stage.count is 0 if already the pivot's block has lost its
 * definiteness. cost: removal costs as they stand; ranks take those of the first one. Collective. */
int reap_stage_begin(struct dual_system *d, int64_t pivot, const double *cost, int64_t left);

/* Rows of all candidates on all ranks, [candidates * block, columns], one rank's after the other's. */
typedef struct shared_rows {
  const double *one; /* without ranks: where they stand, leading dimension ld */
  int64_t ld, columns;
  double *pieces; /* else each rank's, column-major without gaps; the caller's to free */
} shared_rows;

/* Those of one rank's candidates, and their leading dimension. Local. */
const double *reap_stage_rows_of(const struct dual_system *d, const shared_rows *rows, int rank, int64_t *ld);

/* Rows of V before the stage, and of Q by product or of W by weights. */
typedef struct candidate_rows {
  shared_rows v, other;
} candidate_rows;

/* Candidates for `channels` that a stage may remove. Local. */
int64_t reap_stage_candidates_for(int64_t block, int64_t channels);

/* The steps of reap_stage_begin(). Candidates, `pivot` among them, chosen by the first rank; they become the last slots
 * of each. */
int reap_stage_choose(struct dual_system *d, int64_t pivot, const double *cost);

/* Their matrices on the first rank, and their rows on all. */
int reap_stage_gather(struct dual_system *d, candidate_rows *rows);

/* The order in which candidates go if nothing else is cheaper: at[0 .. count) of them, triangle and squares. `pivot` is
 * the first, among the candidates; tie: see elimination.c. Local. */
int reap_stage_look_ahead(stage *stage, int64_t pivot, int64_t most, double tie, int64_t *at);

/* Keeps the rows that reap_stage_columns() wants, of the candidates at[0 .. count) looked ahead to. Local. */
int reap_stage_keep_rows(struct dual_system *d, const int64_t *at, const candidate_rows *rows);

/* V and Q of the channels looked ahead to. Local but for columns of block-cyclic matrices. */
int reap_stage_columns(struct dual_system *d);

#endif
