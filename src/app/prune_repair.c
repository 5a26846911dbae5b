#include "prune_repair.h"

#include <string.h>

#include "base/text.h"
#include "exec/output_set.h"
#include "reap/error.h"
#include "reap/memory.h"

bool prune_repair_wanted(const prune_options *o) {
  return strcmp(o->refit, "ls") == 0 && !o->from_stats && !(o->repair && strcmp(o->repair, "off") == 0);
}

int prune_repair_producers(const prune_options *o) {
  enum { ROUNDS = 4 };
  if (!prune_repair_wanted(o)) return 0;
  return o->producers < 0 ? ROUNDS : (int)o->producers;
}

int prune_repair_check(const prune_options *o) {
  enum { MOST_ROUNDS = 1000 };
  if (o->producers > MOST_ROUNDS)
    return reap_error(REAP_ERR_USAGE, "%s: --producers wants at most %d rounds", o->title, MOST_ROUNDS);
  if (o->producers > 0 && !prune_repair_wanted(o))
    return reap_error(
        REAP_ERR_USAGE,
        "%s: --producers is part of the repair; it does not go with --repair off, --refit none or --from-stats",
        o->title);
  if (o->classifier && strcmp(o->classifier, "scale") == 0 && !prune_repair_wanted(o))
    return reap_error(
        REAP_ERR_USAGE,
        "%s: --classifier scale is part of the repair; it does not go with --repair off, --refit none or --from-stats",
        o->title);
  if (!o->repair || strcmp(o->repair, "on") != 0 || prune_repair_wanted(o)) return REAP_OK;
  if (o->from_stats)
    return reap_error(REAP_ERR_USAGE, "%s: --repair on needs images; it does not go with --from-stats", o->title);
  return reap_error(REAP_ERR_USAGE, "%s: --repair on re-solves weights; it does not go with --refit none", o->title);
}

/* Whether the comma-separated list holds the name. */
static bool is_listed(const char *list, const char *name) {
  while (list && *list) {
    const size_t length = strcspn(list, ",");
    if (reap_text_names(list, length, name)) return true;
    list += length + (list[length] == ',');
  }
  return false;
}

int prune_repair_layers(const prune_options *o, const reap_graph *graph, bool **layers) {
  *layers = NULL;
  if (!prune_repair_wanted(o)) return REAP_OK;
  REAP_TRY(reap_calloc(layers, graph->n_nodes, sizeof **layers));
  for (int i = 0; i < graph->n_nodes; i++) (*layers)[i] = !is_listed(o->exclude, graph->nodes[i]->layer);
  return REAP_OK;
}

reap_scaled_outputs prune_repair_classifier(const prune_options *o, const reap_graph *graph,
                                            const reap_dataset *calibration) {
  if (!prune_repair_wanted(o)) return REAP_SCALE_NONE;
  if (o->classifier) return strcmp(o->classifier, "scale") == 0 ? REAP_SCALE_ALL : REAP_SCALE_NONE;
  if (!reap_output_set_several(graph) && reap_dataset_has_labels(calibration)) return REAP_SCALE_ALL;
  return REAP_SCALE_SOFTMAX;
}
