#include "group_names.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "base/text.h"
#include "prune/sizes/budget.h"
#include "reap/error.h"

/* An entry of a list. */
typedef struct entry {
  const char *name;
  size_t length;
} entry;

/* The next entry that is not empty, from *list on; false: there is none. */
static bool next_entry(const char **list, entry *e) {
  if (!*list) return false;
  *list += strspn(*list, ",");
  *e = (entry){*list, strcspn(*list, ",")};
  *list += e->length;
  return e->length > 0;
}

/* graph NULL: layers are not meant. */
static int refuse(const reap_graph *graph, const reap_groups *groups, const entry *e, const char *what) {
  char nearest[REAP_NEAREST_TEXT];
  reap_nearest near = reap_nearest_to(e->name, e->length);
  for (int g = 0; g < reap_groups_count(groups); g++)
    reap_nearest_offer(&near, reap_groups_at(groups, g)->name, strlen(reap_groups_at(groups, g)->name));
  for (int i = 0; graph && i < graph->n_nodes; i++)
    if (graph->nodes[i]->linear) reap_nearest_offer(&near, graph->nodes[i]->layer, strlen(graph->nodes[i]->layer));
  return reap_error(REAP_ERR_USAGE, "\"%.*s\" %s, and %s no group%s of this network%s", (int)e->length, e->name, what,
                    reap_text_is_pattern(e->name, e->length) ? "fits" : "is", graph ? " or layer" : "",
                    reap_nearest_text(&near, "\"", nearest));
}

/* ------------------------------------------------------------------ groups left alone */

/* Whether a layer makes or reads units of the group. */
static bool has_layer(const reap_group *group, int node) {
  for (int k = 0; k < group->n_members; k++) {
    const reap_member *member = &group->members[k];
    if (member->node == node && (member->role == REAP_PRODUCES || member->role == REAP_CONSUMES)) return true;
  }
  return false;
}

static bool exclude(const reap_graph *graph, const reap_groups *groups, const entry *e, bool *chosen) {
  bool found = false;
  for (int g = 0; g < reap_groups_count(groups); g++) {
    if (!reap_text_fits(e->name, e->length, reap_groups_at(groups, g)->name)) continue;
    chosen[g] = false;
    found = true;
  }
  for (int i = 0; i < graph->n_nodes; i++) {
    if (!graph->nodes[i]->linear || !reap_text_fits(e->name, e->length, graph->nodes[i]->layer)) continue;
    for (int g = 0; g < reap_groups_count(groups); g++)
      if (has_layer(reap_groups_at(groups, g), i)) chosen[g] = false;
    found = true;
  }
  return found;
}

int reap_group_names_exclude(const reap_graph *graph, const reap_groups *groups, const char *list, bool *chosen) {
  for (entry e; next_entry(&list, &e);)
    if (!exclude(graph, groups, &e, chosen)) return refuse(graph, groups, &e, "is to be excluded");
  return REAP_OK;
}

bool reap_group_names_layer(const char *list, const char *layer) {
  for (entry e; next_entry(&list, &e);)
    if (reap_text_fits(e.name, e.length, layer)) return true;
  return false;
}

/* ------------------------------------------------------------------ least sizes */

/* The number behind the last "=" (names may have this sign in them), or alone; it ends with the entry. */
static int read_amount(const entry *e, double *amount, entry *name) {
  size_t at = e->length;
  char *end = NULL;
  while (at > 0 && e->name[at - 1] != '=') at--;
  *name = (entry){e->name, at > 0 ? at - 1 : 0};
  *amount = strtod(e->name + at, &end);
  const bool percent = *end == '%';
  if (percent) *amount /= 100;
  const bool number = end + percent == e->name + e->length && at < e->length && *amount >= 0 && isfinite(*amount);
  if (number && (*amount < 1 || (!percent && *amount == floor(*amount)))) return REAP_OK;
  return reap_error(REAP_ERR_USAGE, "least size \"%.*s\": a number of channels, or a share below 1, is wanted",
                    (int)e->length, e->name);
}

int reap_group_names_least(const reap_groups *groups, const char *list, int64_t *least) {
  for (int g = 0; g < reap_groups_count(groups); g++) least[g] = 1;
  for (entry e, name; next_entry(&list, &e);) {
    double amount;
    REAP_TRY(read_amount(&e, &amount, &name));
    bool found = name.length == 0;
    for (int g = 0; g < reap_groups_count(groups); g++) {
      const reap_group *group = reap_groups_at(groups, g);
      if (name.length > 0 && !reap_text_fits(name.name, name.length, group->name)) continue;
      found = true;
      least[g] = amount < 1                      ? reap_budget_round(amount, group->units)
                 : amount < (double)group->units ? (int64_t)amount
                                                 : group->units;
    }
    if (!found) return refuse(NULL, groups, &name, "is given a least size");
  }
  return REAP_OK;
}
