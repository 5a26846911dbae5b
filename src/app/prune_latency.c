#include "prune_latency.h"

#include <stdio.h>
#include <string.h>

#include "exec/layer_time.h"
#include "latency_file.h"
#include "reap/error.h"

/* Times of another network would be of other layers. */
static int read_table(const prune_options *o, prune_inputs *inputs) {
  const char *model = reap_source_hash(inputs->network.source);
  REAP_TRY(latency_file_read(o->latency_table, &inputs->latency));
  const char *hash = inputs->latency->model_hash;
  if (!hash[0] || strcmp(hash, model) == 0) return REAP_OK;
  return reap_error(REAP_ERR_INPUT, "%s: holds times of another model than %s (sha256 %.12s and %.12s)",
                    o->latency_table, o->model, hash, model);
}

int prune_latency_get(const command_context *context, const prune_options *o, const reap_groups *groups,
                      const reap_progress *progress, prune_inputs *inputs) {
  const reap_backend backend = command_backend(o->common.kernels);
  int status = REAP_OK;
  if (!prune_options_latency(o) || inputs->latency) return REAP_OK;
  if (reap_comm_rank(context->comm) == 0)
    status = o->latency_table
                 ? read_table(o, inputs)
                 : reap_latency_measure(inputs->network.graph, groups, backend, progress, &inputs->latency);
  REAP_TRY(reap_comm_agree(context->comm, status));
  return reap_latency_broadcast(context->comm, &inputs->latency);
}

int prune_latency_check(prune_run *r) {
  const reap_comm *comm = r->context->comm;
  double seconds = 0;
  int status = REAP_OK;
  if (!prune_options_latency(r->options)) return REAP_OK;
  if (reap_comm_rank(comm) == 0)
    status = reap_graph_seconds(r->pruned, command_backend(r->options->common.kernels), &seconds);
  REAP_TRY(reap_comm_agree(comm, status));
  r->measured_ms = 1000 * seconds;
  return reap_comm_broadcast(comm, &r->measured_ms, sizeof r->measured_ms, 0);
}
