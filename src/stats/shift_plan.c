/* Plan of the shift form.
 *
 * With stride 1, tap t = (ty, tx) of a kernel reads pixel q + o_t at output position q, where o_t = t * dilation - pad.
 * Putting p = q + o_t, an element of the Gram matrix of the patches is
 *
 *     G[(t, c), (t', c')] = sum over p in P_t of x[p, c] x[p + o_t' - o_t, c'],
 *
 * P_t being the pixels that tap t reads. The summand depends on the difference of the taps only; the range P_t depends
 * on t, but only near the borders. So both axes are cut into cells at the ends of all ranges: one wide core in the
 * middle, narrow cells at the borders. For each shift and each cell (u, v) one correlation of channels, a term, is
 * computed, and an element of G is the sum of the terms of its shift over the cells that make up P_t. Everything is
 * added, nothing subtracted: a channel that is active at the border only, or a tap that sees nothing but padding, gets
 * its exact zeros, and no element loses accuracy to a larger one.
 *
 * Half the shifts are enough, as G is symmetric: dy > 0, or dy = 0 and dx >= 0.
 */
#include "shift_plan.h"

#include <string.h>

#include "base/numbers.h"
#include "reap/error.h"
#include "reap/memory.h"

bool reap_shift_plan_covers(const reap_layer *layer) {
  const reap_window *w = &layer->window;
  const bool flat = w->depth == 1 && w->kernel_z == 1 && w->pad_front == 0 && w->out_depth == 1;
  return layer->convolution && flat && w->stride_y == 1 && w->stride_x == 1 && w->kernel_y <= SHIFT_MOST_TAPS &&
         w->kernel_x <= SHIFT_MOST_TAPS;
}

static void insert(int64_t *sorted, int *n, int64_t value) {
  int at = *n;
  for (int i = 0; i < *n; i++)
    if (sorted[i] == value) return;
  for (; at > 0 && sorted[at - 1] > value; at--) sorted[at] = sorted[at - 1];
  sorted[at] = value;
  (*n)++;
}

static shift_axis axis_make(int64_t size, int64_t out, int64_t taps, int64_t step, int64_t pad) {
  shift_axis a = {.taps = (int)taps, .size = size, .out = out, .step = step, .pad = pad};
  int64_t ends[2 * SHIFT_MOST_TAPS];
  int n = 0;
  for (int t = 0; t < a.taps; t++) {
    int64_t offset = t * step - pad;
    a.reads_first[t] = reap_smaller(reap_larger(0, offset), size);
    a.reads_last[t] = reap_larger(a.reads_first[t], reap_smaller(size, offset + out));
    if (a.reads_first[t] == a.reads_last[t]) continue;
    insert(ends, &n, a.reads_first[t]);
    insert(ends, &n, a.reads_last[t]);
  }
  for (int i = 0; i + 1 < n; i++) {
    bool read = false;
    for (int t = 0; t < a.taps; t++) read = read || (ends[i] >= a.reads_first[t] && ends[i + 1] <= a.reads_last[t]);
    if (!read) continue;
    a.first[a.n_cells] = ends[i];
    a.last[a.n_cells] = ends[i + 1];
    if (ends[i + 1] - ends[i] > a.last[a.core] - a.first[a.core]) a.core = a.n_cells;
    a.n_cells++;
  }
  return a;
}

void reap_shift_overlap(const shift_axis *axis, int cell, int shift, int64_t *first, int64_t *last) {
  int64_t by = shift * axis->step;
  *first = reap_larger(axis->first[cell], -by);
  *last = reap_smaller(axis->last[cell], axis->size - by);
}

/* True if a pair of taps at that distance reads some of the cell and its shifted image. */
static bool needed(const shift_axis *axis, int cell, int shift) {
  int64_t first, last;
  reap_shift_overlap(axis, cell, shift, &first, &last);
  for (int t = 0; t < axis->taps && first < last; t++)
    if (t + shift >= 0 && t + shift < axis->taps && shift_reads(axis, t, cell)) return true;
  return false;
}

/* Number of a shift; half of all, in the order in which they are counted. */
static int shift_number(const shift_plan *p, int dy, int dx) { return dy * (2 * p->x.taps - 1) + dx; }
static int shift_numbers(const shift_plan *p) { return shift_number(p, p->y.taps - 1, p->x.taps - 1) + 1; }

static int *slot(const shift_plan *p, int dy, int dx, int u, int v) {
  return &p->index[(shift_number(p, dy, dx) * p->y.n_cells + u) * p->x.n_cells + v];
}

int reap_shift_plan_term(const shift_plan *p, int dy, int dx, int u, int v) { return *slot(p, dy, dx, u, v); }

/* Terms of one shift; counts them only while there is no list. */
static void list_terms(shift_plan *p, int dy, int dx) {
  for (int u = 0; u < p->y.n_cells; u++)
    for (int v = 0; v < p->x.n_cells; v++) {
      bool wanted = needed(&p->y, u, dy) && needed(&p->x, v, dx);
      if (p->terms) *slot(p, dy, dx, u, v) = wanted ? p->n_terms : -1;
      if (p->terms && wanted) p->terms[p->n_terms] = (shift_term){dy, dx, u, v};
      p->n_terms += wanted;
    }
}

static void list_all(shift_plan *p) {
  p->n_terms = 0;
  for (int dy = 0; dy < p->y.taps; dy++)
    for (int dx = dy > 0 ? 1 - p->x.taps : 0; dx < p->x.taps; dx++) list_terms(p, dy, dx);
}

int reap_shift_plan_create(const reap_window *w, shift_plan *p) {
  memset(p, 0, sizeof *p);
  p->y = axis_make(w->height, w->out_height, w->kernel_y, w->dilation_y, w->pad_top);
  p->x = axis_make(w->width, w->out_width, w->kernel_x, w->dilation_x, w->pad_left);
  list_all(p);
  REAP_TRY(reap_alloc(&p->terms, p->n_terms, sizeof *p->terms));
  int status = reap_alloc(&p->index, (int64_t)shift_numbers(p) * p->y.n_cells * p->x.n_cells, sizeof *p->index);
  if (status == REAP_OK)
    list_all(p);
  else
    reap_shift_plan_clear(p);
  return status;
}

void reap_shift_plan_clear(shift_plan *p) {
  reap_free(&p->terms);
  reap_free(&p->index);
}

static double overlap_size(const shift_axis *axis, int cell, int shift) {
  int64_t first, last;
  reap_shift_overlap(axis, cell, shift, &first, &last);
  return first < last ? (double)(last - first) : 0;
}

double reap_shift_plan_pairs(const shift_plan *p) {
  double sum = 0;
  for (int k = 0; k < p->n_terms; k++) {
    const shift_term *t = &p->terms[k];
    double half = t->dy == 0 && t->dx == 0 ? 0.5 : 1;
    sum += half * overlap_size(&p->y, t->u, t->dy) * overlap_size(&p->x, t->v, t->dx);
  }
  return sum;
}

double reap_shift_plan_cross_pairs(const shift_plan *p) {
  double rows = 0, columns = 0;
  for (int t = 0; t < p->y.taps; t++) rows += (double)(p->y.reads_last[t] - p->y.reads_first[t]);
  for (int t = 0; t < p->x.taps; t++) columns += (double)(p->x.reads_last[t] - p->x.reads_first[t]);
  return rows * columns;
}

double reap_shift_plan_cost(const shift_plan *p) {
  static const double CALL = 0.5; /* pixels that a product costs in addition, shared among the images of a batch */
  double sum = reap_shift_plan_pairs(p);
  for (int k = 0; k < p->n_terms; k++) {
    const shift_term *t = &p->terms[k];
    sum += CALL * (t->v == p->x.core ? overlap_size(&p->y, t->u, t->dy) : overlap_size(&p->x, t->v, t->dx));
  }
  return sum;
}
