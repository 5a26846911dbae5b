/* Geometric median: He, Liu, Wang, Hu and Yang, "Filter Pruning via Geometric Median for Deep Convolutional Neural
 * Networks Acceleration", CVPR 2019.
 *
 * The filters F_j of a layer that are nearest their geometric median go: those with the smallest
 *
 *     sum over i of | F_j - F_i |_2
 *
 * (the paper's relaxed form, in which the median is one of the filters). Of a coupled group a unit's filter is that of
 * all layers that make it, one behind the other. Batch norms behind the layers are folded in. Distances come from the
 * filters' inner products, |F_j|^2 + |F_i|^2 - 2 F_j'F_i: of filters that are equal up to 1e-8 nothing but rounding is
 * left of them, which does not count in a sum over all.
 *
 * Cost: units^2 times the weights of a filter; memory: the filters of a layer in double precision.
 */
#include <math.h>

#include "linalg/dense.h"
#include "methods.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "unit_weights.h"

/* The most weights of a unit; next[units]: scratch, zero before and after. */
static int64_t longest_filter(const reap_unit_weights *w, int64_t units, int64_t *next) {
  int64_t longest = 0;
  for (int64_t i = 0; i < w->weights->count; i++) {
    const int64_t unit = w->units[i / w->run % w->length];
    if (unit >= 0 && ++next[unit] > longest) longest = next[unit];
  }
  for (int64_t u = 0; u < units; u++) next[u] = 0;
  return longest;
}

/* Adds the inner products of one layer's filters to the lower triangle of products [units, units]. next: as above. */
static int add_products(const reap_unit_weights *w, int64_t units, int64_t *next, double *products) {
  const int64_t length = longest_filter(w, units, next);
  double *filters = NULL; /* [units, length] row-major */
  int64_t size = 0;
  REAP_TRY(reap_multiply(units, length, &size));
  REAP_TRY(reap_calloc(&filters, size, sizeof *filters));
  for (int64_t i = 0; i < w->weights->count; i++) {
    const int64_t unit = w->units[i / w->run % w->length];
    if (unit >= 0) filters[unit * length + next[unit]++] = w->weights->f32[i];
  }
  for (int64_t u = 0; u < units; u++) next[u] = 0;
  const int status = reap_dsyrk_lower('T', units, length, 1, filters, length, 1, products, units);
  reap_free(&filters);
  return status;
}

static int add_layers(const reap_evidence *e, int64_t *next, double *products) {
  for (int k = 0; k < e->group->n_members; k++) {
    reap_unit_weights w;
    if (e->group->members[k].role != REAP_PRODUCES || !e->graph->nodes[e->group->members[k].node]->linear) continue;
    REAP_TRY(reap_unit_weights_find(e, &e->group->members[k], &w));
    const int status = add_products(&w, e->group->units, next, products);
    reap_unit_weights_clear(&w);
    REAP_TRY(status);
  }
  return REAP_OK;
}

static int score(void *state, const reap_evidence *e, reap_choice *choice) {
  const int64_t units = e->group->units;
  double *products = NULL;
  int64_t *next = NULL;
  (void)state;
  int status = reap_calloc(&products, units * units, sizeof *products);
  if (status == REAP_OK) status = reap_calloc(&next, units, sizeof *next);
  if (status == REAP_OK) status = add_layers(e, next, products);
  for (int64_t j = 0; status == REAP_OK && j < units; j++)
    for (int64_t i = j + 1; i < units; i++) {
      const double square = products[j + j * units] + products[i + i * units] - 2 * products[i + j * units];
      choice->scores[i] += sqrt(fmax(square, 0));
      choice->scores[j] += sqrt(fmax(square, 0));
    }
  reap_free(&products);
  reap_free(&next);
  return status;
}

const reap_method reap_method_fpgm = {
    .name = "fpgm",
    .summary = "filters farthest from the geometric median of the layer's (He et al., CVPR 2019)",
    .needs = REAP_NEEDS_WEIGHTS,
    .gives = REAP_GIVES_SCORES,
    .can = REAP_CAN_COUPLED,
    .score = score};
