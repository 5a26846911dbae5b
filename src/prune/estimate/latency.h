/* Milliseconds as a budget: times of every linear layer at a few sizes, measured with the kernels that reap uses. */
#ifndef REAP_PRUNE_ESTIMATE_LATENCY_H
#define REAP_PRUNE_ESTIMATE_LATENCY_H

#include "exec/kernels/kernel.h"
#include "prune/sizes/cost_model.h"
#include "reap/comm.h"
#include "reap/log.h"

/* One linear layer. Sides without a group have one entry in the table: 1. */
typedef struct reap_layer_times {
  char *layer;
  reap_time_table table; /* sizes as latency_sides.h counts them */
} reap_layer_times;

typedef struct reap_latency {
  int n;
  reap_layer_times *layers;
  double whole;        /* milliseconds of one image in the whole network, as it is */
  char model_hash[65]; /* SHA-256 of the model's file; "" unknown */
} reap_latency;

/* n layers without tables; the caller owns it. */
int reap_latency_create(int n, reap_latency **out);
int reap_time_table_allocate(reap_time_table *table, int n_in, int n_out);
void reap_latency_destroy(reap_latency **latency);

/* Local: to be called by one rank while the others wait. Layers of one shape are measured once. coupled: also at sizes
 * of coupled groups; such times serve choices among inner groups as well. */
int reap_latency_measure(const reap_graph *graph, const reap_groups *groups, bool coupled, reap_backend backend,
                         const reap_progress *progress, reap_latency **out);

/* Collective: the latency that rank 0 has, to all. */
int reap_latency_broadcast(const reap_comm *comm, reap_latency **latency);

/* Milliseconds as a cost model: the layers' tables, which it borrows, and the rest of the network as it is,
 *     rest = whole - sum over layers at their full size.
 * REAP_ERR_INPUT if a layer is missing or a table does not fit its groups. */
int reap_cost_model_latency(const reap_graph *graph, const reap_groups *groups, const bool *chosen,
                            const reap_latency *latency, reap_cost_model **out);

#endif
