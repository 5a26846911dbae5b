/* A stage's columns of V and Q once more, eight rows at a time, and the step that adds a removal's columns to them;
 * private to src/prune. Local. */
#ifndef REAP_PRUNE_SOLVER_STAGE_TILES_H
#define REAP_PRUNE_SOLVER_STAGE_TILES_H

#include <stdint.h>

enum { STAGE_TILES_WIDEST = 15 /* columns of a block; wider ones are BLAS's */ };

typedef struct stage_tiles {
  int64_t width;
  double *tile; /* [rows / 8][width][2][8]: for every column eight rows of V, eight of Q */
} stage_tiles;

/* A removal: pivot holds L and Z_s Z_s' [block, block] each, V_s and Q_s [block, k] each, one after the other; dual and
 * product its columns H_:s and K_:s as of the start of the stage, v and q where the new ones of V and Q go. All of them
 * [rows, block], column-major, leading dimension ld. */
typedef struct stage_removal {
  int64_t block, k, rows, ld;
  const double *pivot, *dual, *product;
  double *v, *q;
} stage_removal;

/* Room for `width` columns of at most `rows` rows. */
int reap_stage_tiles_create(int64_t rows, int64_t width, stage_tiles *out);
void reap_stage_tiles_clear(stage_tiles *tiles);

/* V_new and Q_new from the stage's first k columns, which came by this call; ld is a multiple of 8 and at least rows,
 * and rows up to the next multiple of 8 are computed too. block is at most STAGE_TILES_WIDEST. */
void reap_stage_tiles_append(stage_tiles *tiles, const stage_removal *removal);

#endif
