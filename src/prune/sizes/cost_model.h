/* What a choice of sizes costs: multiply-adds, parameters or milliseconds of one image, as a function of the channels
 * that each group keeps. Local.
 *
 * A linear layer costs in proportion to kept inputs times kept outputs, so that neighbouring groups share a term:
 *
 *     cost(k) = fixed + sum_t unit_t * k[in_t] * k[out_t]     (k = 1 for a group of -1)
 *
 * or, for times, a table over (k[in_t], k[out_t]) in place of the product.
 */
#ifndef REAP_PRUNE_SIZES_COST_MODEL_H
#define REAP_PRUNE_SIZES_COST_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "reap/graph.h"
#include "reap/groups.h"

/* Times of one layer at some sizes: ms[i * n_out + j], milliseconds of one image, at in[i], out[j] channels kept, both
 * ascending. Between them bilinear, outside them the straight line of the last two, never below zero. */
typedef struct reap_time_table {
  int n_in, n_out;
  int64_t *in, *out;
  double *ms;
} reap_time_table;

double reap_time_table_at(const reap_time_table *table, int64_t in, int64_t out);

typedef struct reap_cost_term {
  int in, out; /* groups, or -1; a layer between two groups that are not pruned is part of `fixed` */
  double unit;
  const reap_time_table *table; /* borrowed; NULL: unit * k[in] * k[out]. A side of -1 is at its largest size */
} reap_cost_term;

typedef struct reap_cost_model {
  int n_groups;
  int64_t *channels; /* [n_groups] */
  bool *chosen;      /* [n_groups] groups whose size is free; the others keep all */
  double fixed;
  int n_terms, capacity;
  reap_cost_term *terms;
  double whole; /* cost with all channels kept */
} reap_cost_model;

/* Multiply-adds and parameters as reap_graph_flops and reap_graph_params count them after pruning: biases and norms
 * included, and the bias that a re-solved layer gets where the file has none. Exact: whole numbers below 2^53. The
 * caller owns the model. */
int reap_cost_model_flops(const reap_graph *graph, const reap_groups *groups, const bool *chosen,
                          reap_cost_model **out);
int reap_cost_model_params(const reap_graph *graph, const reap_groups *groups, const bool *chosen,
                           reap_cost_model **out);

/* A layer's cost as a function of its inputs (of one group of a convolution) and outputs. */
typedef struct reap_cost_fit {
  bool there;
  double c[4]; /* c[0] + c[1] in + c[2] out + c[3] in out */
} reap_cost_fit;

/* Adds the layers fits[n_nodes] that are there, as terms of all groups that have entries of them. */
int reap_cost_model_add_fits(reap_cost_model *model, const reap_graph *graph, const reap_groups *groups,
                             const reap_cost_fit *fits);

/* An empty model, and terms added by hand; `whole` is set by reap_cost_model_finish(). */
int reap_cost_model_create(const reap_groups *groups, const bool *chosen, reap_cost_model **out);
int reap_cost_model_create_bare(int n_groups, const int64_t *channels, const bool *chosen, reap_cost_model **out);
int reap_cost_model_add(reap_cost_model *model, int in, int out, double unit, const reap_time_table *table);
void reap_cost_model_finish(reap_cost_model *model);
void reap_cost_model_destroy(reap_cost_model **model);

/* Of one term with `in` and `out` channels kept. */
double reap_cost_term_at(const reap_cost_term *term, int64_t in, int64_t out);

/* counts[n_groups]; those of groups that are not free are ignored. */
double reap_cost_model_at(const reap_cost_model *model, const int64_t *counts);

#endif
