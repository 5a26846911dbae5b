#include "group_reason.h"

#include <stdio.h>
#include <string.h>

#include "model/operators.h"
#include "reap/error.h"
#include "reap/memory.h"

enum { LINE = 512, SHOWN = 3 };

void reap_first_few_add(reap_first_few *list, int item) {
  if (list->count < REAP_FIRST_FEW) list->items[list->count] = item;
  list->count++;
}

/* Nodes that have the units in this role; a node of the file that is several here counts once. */
static reap_first_few nodes_in_role(const reap_graph *graph, const reap_group *group, reap_role role) {
  reap_first_few nodes = {0, {0}};
  int last = -1;
  for (int k = 0; k < group->n_members; k++) {
    const int node = group->members[k].node;
    if (group->members[k].role != role || graph->nodes[node]->source == last) continue;
    last = graph->nodes[node]->source;
    reap_first_few_add(&nodes, node);
  }
  return nodes;
}

/* "a", "a and b", "a, b and c", "a, b, c and 2 more": layers by name, other nodes with their operator. */
static const char *names(const reap_graph *graph, const reap_first_few *nodes, char line[LINE]) {
  const int count = nodes->count, shown = count < SHOWN ? count : SHOWN;
  size_t used = 0;
  line[0] = '\0';
  for (int i = 0; i < shown; i++) {
    const reap_node *node = graph->nodes[nodes->items[i]];
    const char *before = i == 0 ? "" : i == count - 1 ? " and " : ", ";
    used += (size_t)snprintf(line + used, LINE - used, "%s%.120s", before,
                             node->linear ? node->layer : reap_node_title(node));
  }
  if (count > shown) snprintf(line + used, LINE - used, " and %d more", count - shown);
  return line;
}

static const char *plural(int count) { return count == 1 ? "s" : ""; }

const char *reap_norm_verb(const reap_node *norm) {
  return norm->op->channels == REAP_CHANNELS_PASS ? "is taken" : "normalises";
}

int reap_coupled_reason(const reap_graph *graph, const reap_group *group, const reap_first_few *others, int64_t read,
                        const reap_node *norm, char **reason) {
  const reap_first_few producers = nodes_in_role(graph, group, REAP_PRODUCES),
                       consumers = nodes_in_role(graph, group, REAP_CONSUMES),
                       ties = nodes_in_role(graph, group, REAP_ADDS);
  const bool several = producers.count > 1 || consumers.count > 1, joined = producers.count > 1 && ties.count > 0;
  char makers[LINE], tied[LINE], readers[LINE], rest[LINE];
  if (consumers.count == 0) return reap_strdup(reason, "no layer consumes it");
  names(graph, &producers, makers);
  names(graph, &ties, tied);
  names(graph, &consumers, readers);
  names(graph, others, rest);
  const char *how = several ? " it"
                    : !graph->nodes[producers.items[0]]->linear || !graph->nodes[consumers.items[0]]->linear
                        ? " it, and a transposed convolution is not re-solved"
                    : others->count > 0   ? " it together with channels of "
                    : read > group->units ? " it more than once"
                                          : " a part of it";
  char over[LINE] = "";
  if (norm) snprintf(over, LINE, "; %.200s %s over what is left of it", reap_node_title(norm), reap_norm_verb(norm));
  return reap_format(reason, "coupled: %s produce%s it%s%s; %s read%s%s%s%s", makers, plural(producers.count),
                     joined ? ", tied by " : "", joined ? tied : "", readers, plural(consumers.count), how,
                     !several && others->count > 0 ? rest : "", over);
}
