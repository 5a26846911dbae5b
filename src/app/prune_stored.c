#include "prune_stored.h"

#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"
#include "stats/collect.h"

/* Local. Moments of another network, or of inputs that were pruned already, would choose the wrong channels. */
static int open_stats(const prune_options *o, const reap_network *network, prune_stored *s) {
  reap_origin origin = {0};
  if (!o->from_stats) return REAP_OK;
  REAP_TRY(reap_stats_file_open(o->from_stats, &s->from));
  REAP_TRY(reap_stats_file_origin(s->from, &origin));
  int status = REAP_OK;
  if (origin.pruned)
    status =
        reap_error(REAP_ERR_INPUT,
                   "%s: holds moments of a network as pruned so far; those of the original are wanted (reap stats)",
                   o->from_stats);
  else if (strcmp(origin.model, reap_source_hash(network->source)) != 0)
    status = reap_error(REAP_ERR_INPUT, "%s: holds moments of another model than %s (sha256 %.12s and %.12s)",
                        o->from_stats, o->model, origin.model, reap_source_hash(network->source));
  reap_origin_clear(&origin);
  return status;
}

/* Local. Layers whose inputs are pruned, and what their rows would take on the disk. */
static int check_size(const prune_options *o, const reap_network *network, const reap_groups *groups,
                      const bool *chosen, int64_t images) {
  const reap_sampling sampling = {o->positions, (uint64_t)o->seed};
  double bytes = 0;
  for (int g = 0; o->activations && g < reap_groups_count(groups); g++) {
    const reap_group *group = reap_groups_at(groups, g);
    reap_layer layer;
    if (!chosen[g]) continue;
    REAP_TRY(reap_layer_view(network->graph, reap_group_consumer(group), group->units, &layer));
    bytes += reap_collect_stored_bytes(&layer, 1, &sampling, images);
  }
  return o->activations ? command_check_activations(o->activations, bytes, o->positions) : REAP_OK;
}

int prune_stored_open(const command_context *context, const prune_options *o, const reap_network *network,
                      const reap_groups *groups, const bool *chosen, int64_t images, const char *images_hash,
                      prune_stored *s) {
  const bool writes = o->save_stats || o->activations;
  reap_origin origin = {0};
  int status = open_stats(o, network, s);
  if (status == REAP_OK) status = check_size(o, network, groups, chosen, images);
  if (status == REAP_OK && writes)
    status = reap_origin_make(reap_source_hash(network->source), true, o->positions, o->seed, images_hash, 0, images,
                              &origin);
  status = reap_comm_agree(context->comm, status);
  if (status == REAP_OK && o->save_stats)
    status = reap_stats_writer_create(context->comm, o->save_stats, &origin, &s->save);
  if (status == REAP_OK && o->activations)
    status = reap_activations_file_create(context->comm, o->activations, &origin, &s->activations);
  reap_origin_clear(&origin);
  return status;
}

int prune_stored_commit(prune_stored *s) {
  if (s->save) REAP_TRY(reap_stats_writer_commit(&s->save));
  return s->activations ? reap_activations_file_commit(&s->activations) : REAP_OK;
}

void prune_stored_close(prune_stored *s) {
  reap_activations_file_destroy(&s->activations);
  reap_stats_writer_destroy(&s->save);
  reap_stats_file_close(&s->from);
}
