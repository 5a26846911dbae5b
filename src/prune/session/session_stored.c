#include "session_stored.h"

#include <string.h>

#include "io/onnx/source.h"
#include "reap/error.h"
#include "reap/memory.h"
#include "stats/collect.h"

int reap_session_stats_open(const reap_network *network, const char *path, reap_stats_file **out) {
  reap_origin origin = {0};
  const char *model = reap_source_hash(network->source);
  REAP_TRY(reap_stats_file_open(path, out));
  REAP_TRY(reap_stats_file_origin(*out, &origin));
  int status = REAP_OK;
  if (origin.pruned)
    status = reap_error(REAP_ERR_INPUT,
                        "%s: holds moments of a network as pruned so far; those of the original are wanted", path);
  else if (strcmp(origin.model, model) != 0)
    status = reap_error(REAP_ERR_INPUT, "%s: holds moments of another model than %s (sha256 %.12s and %.12s)", path,
                        reap_source_path(network->source), origin.model, model);
  reap_origin_clear(&origin);
  return status;
}

/* Local. What the rows of layers whose inputs are pruned would take on the disk. */
static int check_size(const reap_session_settings *o, const reap_network *network, const reap_groups *groups,
                      const bool *chosen, int64_t images) {
  const reap_sampling sampling = {o->positions, o->seed};
  double bytes = 0;
  for (int g = 0; o->activations && g < reap_groups_count(groups); g++) {
    const reap_group *group = reap_groups_at(groups, g);
    reap_layer layer;
    if (!chosen[g] || !group->prunable) continue;
    REAP_TRY(reap_layer_view(network->graph, reap_group_consumer(group), group->units, &layer));
    bytes += reap_collect_stored_bytes(&layer, 1, &sampling, images);
  }
  return o->activations ? reap_activations_check_size(o->activations, bytes, o->positions) : REAP_OK;
}

int reap_session_stored_open(const reap_comm *comm, const reap_session_settings *o, const reap_network *network,
                             const reap_groups *groups, const bool *chosen, int64_t images, const char *data_hash,
                             session_stored *s) {
  const bool writes = o->save_stats || o->activations;
  reap_origin origin = {0};
  int status = o->from_stats && !s->from ? reap_session_stats_open(network, o->from_stats, &s->from) : REAP_OK;
  if (status == REAP_OK) status = check_size(o, network, groups, chosen, images);
  if (status == REAP_OK && writes)
    status = reap_origin_make(reap_source_hash(network->source), true, o->positions, (int64_t)o->seed, data_hash, 0,
                              images, &origin);
  status = reap_comm_agree(comm, status);
  if (status == REAP_OK && o->save_stats) status = reap_stats_writer_create(comm, o->save_stats, &origin, &s->save);
  if (status == REAP_OK && o->activations)
    status = reap_activations_file_create(comm, o->activations, &origin, &s->activations);
  reap_origin_clear(&origin);
  return status;
}

int reap_session_stored_commit(session_stored *s) {
  if (s->save) REAP_TRY(reap_stats_writer_commit(&s->save));
  return s->activations ? reap_activations_file_commit(&s->activations) : REAP_OK;
}

void reap_session_stored_close(session_stored *s) {
  reap_activations_file_destroy(&s->activations);
  reap_stats_writer_destroy(&s->save);
  reap_stats_file_close(&s->from);
}
