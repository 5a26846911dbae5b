/* Which shifted correlations a stride-1 convolution's Gram matrix is made of; private to src/stats. See shift_plan.c.
 * */
#ifndef REAP_STATS_SHIFT_PLAN_H
#define REAP_STATS_SHIFT_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "model/operators/layer.h"

enum { SHIFT_MOST_TAPS = 11, SHIFT_MOST_CELLS = 2 * SHIFT_MOST_TAPS };

/* One axis of the image, cut where the taps' ranges begin and end. Tap t reads input positions
 * [reads_first[t], reads_last[t]); every cell lies wholly inside or outside of each tap's range. */
typedef struct shift_axis {
  int taps, n_cells, core; /* core: the widest cell */
  int64_t size, out, step, pad;
  int64_t reads_first[SHIFT_MOST_TAPS], reads_last[SHIFT_MOST_TAPS];
  int64_t first[SHIFT_MOST_CELLS], last[SHIFT_MOST_CELLS];
} shift_axis;

/* Correlation of the pixels p in cell (u, v) with those at p + (dy * step_y, dx * step_x). */
typedef struct shift_term {
  int dy, dx, u, v;
} shift_term;

typedef struct shift_plan {
  shift_axis y, x;
  int n_terms;
  shift_term *terms;
  int *index; /* [shifts][cells of y][cells of x]: term, or -1 */
} shift_plan;

/* True for layers that the shift form covers: convolutions of stride 1 with no more than SHIFT_MOST_TAPS a side. */
bool reap_shift_plan_covers(const reap_layer *layer);

int reap_shift_plan_create(const reap_window *w, shift_plan *plan);
void reap_shift_plan_clear(shift_plan *plan);

/* True if the tap reads the whole cell, which is otherwise outside its range. */
static inline bool shift_reads(const shift_axis *axis, int tap, int cell) {
  return axis->first[cell] >= axis->reads_first[tap] && axis->last[cell] <= axis->reads_last[tap];
}

/* Term of a shift (dy >= 0, and dx >= 0 where dy is 0) and a cell, or -1: it is empty. */
int reap_shift_plan_term(const shift_plan *plan, int dy, int dx, int u, int v);

/* Positions p of cell `cell` for which p + shift * step lies in the image: [*first, *last), maybe empty. */
void reap_shift_overlap(const shift_axis *axis, int cell, int shift, int64_t *first, int64_t *last);

/* Multiply-adds that an image needs, per pair of channels (shift 0 counting half) and per pair of channel and output.
 * */
double reap_shift_plan_pairs(const shift_plan *plan);
double reap_shift_plan_cross_pairs(const shift_plan *plan);

/* reap_shift_plan_pairs() and what short products cost in addition. */
double reap_shift_plan_cost(const shift_plan *plan);

#endif
