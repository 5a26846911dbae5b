/* Channels behind a Reshape; see channel_reshape.h.
 *
 * Axes of both sides are matched from the front into stretches of as many elements. The stretch with the channels is a
 * row of runs, `ahead` times all channels one after the other; it is cut into the axes of the output.
 *
 * Cost: that of the entries in the stretch, if it is split. */
#include "channel_reshape.h"

#include <stdlib.h>

#include "model/operators.h"
#include "model/operators/layout.h"
#include "reap/error.h"
#include "reap/memory.h"

/* Axes [x_first, x_end) of the input have the elements of axes [y_first, y_end) of the output. */
typedef struct stretch {
  int x_first, x_end, y_first, y_end;
} stretch;

/* The shortest stretch that holds `axis` of x. */
static stretch find_stretch(const reap_value *x, const reap_value *y, int axis) {
  stretch s = {0, 0, 0, 0};
  while (s.x_end <= axis) {
    int64_t here = 1, there = 1;
    s.x_first = s.x_end;
    s.y_first = s.y_end;
    do {
      if (s.x_end < x->rank && (here <= there || s.y_end == y->rank))
        here *= x->dims[s.x_end++];
      else
        there *= y->dims[s.y_end++];
    } while (here != there || s.x_end == s.x_first);
  }
  while (s.y_end < y->rank && y->dims[s.y_end] == 1) s.y_end++;
  return s;
}

static int64_t product(const int64_t *dims, int first, int end) {
  int64_t n = 1;
  for (int i = first; i < end; i++) n *= dims[i];
  return n;
}

/* What lies in the stretch: entry q is of channel atoms[q / run % count]. */
typedef struct row {
  int64_t length, run, count;
  const int64_t *atoms;
} row;

static int64_t atom_at(const row *r, int64_t q) { return r->atoms[q / r->run % r->count]; }

/* Channel and place along an axis with `behind` entries for each stay the same for so many entries. */
static int64_t step_of(const row *r, int64_t behind) {
  int64_t a = r->run, b = behind;
  while (b != 0) {
    const int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

typedef struct ranked {
  int64_t root, index;
} ranked;

static int by_root(const void *a, const void *b) {
  const ranked *x = a, *y = b;
  return x->root != y->root ? (x->root > y->root) - (x->root < y->root) : (x->index > y->index) - (x->index < y->index);
}

/* For each channel of the row the first one of its class: same[count], sorted[count] is scratch. */
static void find_same(reap_channel_map *map, const row *r, int64_t *same, ranked *sorted) {
  for (int64_t c = 0; c < r->count; c++) sorted[c] = (ranked){reap_channel_map_find(map, r->atoms[c]), c};
  qsort(sorted, (size_t)r->count, sizeof *sorted, by_root);
  for (int64_t i = 0; i < r->count; i++) {
    const bool first = i == 0 || sorted[i].root != sorted[i - 1].root;
    same[sorted[i].index] = first ? sorted[i].index : same[sorted[i - 1].index];
  }
}

static int64_t lead_of(int64_t *leads, int64_t c) {
  while (leads[c] != c) c = leads[c] = leads[leads[c]];
  return c;
}

/* How many classes there are where entries at the same place along an axis (`size` places, `behind` entries each)
 * leave together. Scratch: leads[count], first[size]. */
static int64_t classes_along(const row *r, const int64_t *same, int64_t size, int64_t behind, int64_t *leads,
                             int64_t *first) {
  int64_t classes = 0;
  for (int64_t c = 0; c < r->count; c++) {
    leads[c] = same[c];
    classes += same[c] == c;
  }
  for (int64_t t = 0; t < size; t++) first[t] = -1;
  for (int64_t q = 0; q < r->length; q += step_of(r, behind)) {
    const int64_t place = q / behind % size, a = lead_of(leads, q / r->run % r->count),
                  b = first[place] < 0 ? a : lead_of(leads, first[place]);
    classes -= a != b;
    leads[a > b ? a : b] = first[place] = a > b ? b : a;
  }
  return classes;
}

/* Scratch of a split. */
typedef struct scratch {
  int64_t *same, *leads, *first;
  ranked *sorted;
} scratch;

/* Each run has all places of the axis. */
static bool is_within(const reap_value *y, const stretch *s, const row *r, int axis) {
  return r->run % product(y->dims, axis, s->y_end) == 0;
}

/* The axis of the output along which the most classes remain; of equals the last one. What is normalised next has to
 * stay together, along all axes but one. */
static int best_axis(const reap_value *y, const stretch *s, bool normalised, const row *r, const scratch *w) {
  int best = -1;
  int64_t most = 0;
  for (int axis = s->y_first; axis < s->y_end; axis++) {
    if (normalised && axis != REAP_NORM_AXIS) continue;
    const int64_t size = y->dims[axis], behind = product(y->dims, axis + 1, s->y_end);
    const int64_t classes = size == 1                  ? 0
                            : is_within(y, s, r, axis) ? 1
                                                       : classes_along(r, w->same, size, behind, w->leads, w->first);
    if (size == 1 || classes < most) continue;
    most = classes;
    best = axis;
  }
  return best;
}

static int split_with(const reap_graph *graph, const reap_node *node, reap_channel_map *map, const reap_value *y,
                      const stretch *s, const row *r, scratch *w) {
  const bool normalised = y->n_readers == 1 && !y->is_output && s->y_first <= REAP_NORM_AXIS &&
                          s->y_end > REAP_NORM_AXIS && y->dims[REAP_NORM_AXIS] > 1 &&
                          graph->nodes[y->reader]->op->id == REAP_OP_InstanceNormalization;
  for (int i = s->y_first; i < s->y_end; i++)
    if (y->dims[i] > 1 && !is_within(y, s, r, i) && (!normalised || i == REAP_NORM_AXIS))
      REAP_TRY(reap_channel_map_count(map, r->length / step_of(r, product(y->dims, i + 1, s->y_end))));
  REAP_TRY(reap_alloc(&w->same, r->count, sizeof *w->same));
  REAP_TRY(reap_alloc(&w->leads, r->count, sizeof *w->leads));
  REAP_TRY(reap_alloc(&w->first, r->length, sizeof *w->first));
  REAP_TRY(reap_alloc(&w->sorted, r->count, sizeof *w->sorted));
  find_same(map, r, w->same, w->sorted);
  const int axis = best_axis(y, s, normalised, r, w);
  const int64_t size = y->dims[axis], behind = product(y->dims, axis + 1, s->y_end);
  REAP_TRY(reap_channel_list_set(map, node->outputs[0], axis, size, 1));
  int64_t *atoms = map->values[node->outputs[0]].atoms;
  for (int64_t t = 0; t < size; t++) atoms[t] = atom_at(r, t * behind);
  for (int64_t q = 0; q < r->length; q += step_of(r, behind))
    reap_channel_map_unite(map, atoms[q / behind % size], atom_at(r, q));
  return REAP_OK;
}

/* The list along one of several axes. */
static int split(const reap_graph *graph, const reap_node *node, reap_channel_map *map, const reap_value *y,
                 const stretch *s, const row *r) {
  scratch w = {NULL, NULL, NULL, NULL};
  const int status = split_with(graph, node, map, y, s, r, &w);
  reap_free(&w.same);
  reap_free(&w.leads);
  reap_free(&w.first);
  reap_free(&w.sorted);
  return status;
}

/* The list along the only axis that is longer than 1. */
static int keep(const reap_node *node, reap_channel_map *map, int axis, const row *r) {
  const int64_t count = r->length / r->run;
  REAP_TRY(reap_channel_list_set(map, node->outputs[0], axis, count, r->run));
  for (int64_t i = 0; i < count; i++) map->values[node->outputs[0]].atoms[i] = atom_at(r, i * r->run);
  return REAP_OK;
}

int reap_channel_reshape(const reap_graph *graph, const reap_node *node, reap_channel_map *map) {
  const reap_channel_list *list = &map->values[node->inputs[0]];
  const reap_value *x = reap_node_input(graph, node, 0), *y = reap_node_output(graph, node, 0);
  if (list->count == 0) return REAP_OK;
  const stretch s = find_stretch(x, y, list->axis);
  int axis = -1, longer = 0;
  for (int i = s.y_first; i < s.y_end; i++) {
    longer += y->dims[i] > 1;
    if (y->dims[i] > 1 || (axis < 0 && i > 0)) axis = i;
  }
  /* A single image is no part of an axis: sizes that name it are written so that they serve any batch (cut_node.c). */
  if (s.x_first == 0 && graph->batch > 1)
    return reap_channel_map_pin_inputs(graph, node, map, "flattens the batch as well");
  if (axis < 0) return reap_channel_map_pin_inputs(graph, node, map, "drops the axis of the channels");
  const row r = {product(x->dims, s.x_first, s.x_end), list->repeat * product(x->dims, list->axis + 1, s.x_end),
                 list->count, list->atoms};
  return longer > 1 ? split(graph, node, map, y, &s, &r) : keep(node, map, axis, &r);
}
