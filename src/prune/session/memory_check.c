#include "memory_check.h"

#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"

static double gigabytes(double bytes) { return bytes / 1e9; }

int reap_footprint_check(const reap_comm *comm, const reap_footprint *footprint, int64_t limit, const char *advice) {
  int ranks = 1;
  REAP_TRY(reap_comm_node_size(comm, &ranks));
  const double available = (double)reap_memory_available();
  const double most = (double)footprint->weights * ranks, all = (double)footprint->all_weights;
  const double weights = most < all ? most : all; /* of the ranks on the node */
  const double matrices = (double)footprint->every_rank * ranks + (double)footprint->deciding_rank + weights;
  const double share = (double)footprint->frontier / reap_comm_size(comm); /* of a rank */
  const double activations = ranks * (limit > 0 && (double)limit < share ? (double)limit : share);
  int status = REAP_OK;
  if (available > 0 && footprint->layer && matrices > available)
    status = reap_error(
        REAP_ERR_RESOURCE,
        "layer %s has %lld columns: its matrices%s take %.1f GB on a node with %d ranks, where %.1f GB are free; %s",
        footprint->layer, (long long)footprint->columns, weights > 0 ? " and weights at several sizes" : "",
        gigabytes(matrices), ranks, gigabytes(available), advice);
  REAP_TRY(reap_comm_agree(comm, status));
  if (available > 0 && matrices + activations > available)
    reap_log(REAP_LOG_WARNING,
             "activations may take %.1f GB and matrices %.1f GB on this node, where %.1f GB are free; beyond a memory "
             "limit they would be parked on disk",
             gigabytes(activations), gigabytes(matrices), gigabytes(available));
  return REAP_OK;
}
