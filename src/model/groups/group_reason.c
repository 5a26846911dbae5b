#include "group_reason.h"

#include <stdio.h>
#include <string.h>

#include "reap/error.h"
#include "reap/memory.h"

enum { LINE = 512, SHOWN = 3 };

void reap_first_few_add(reap_first_few *list, int item) {
  if (list->count < REAP_FIRST_FEW) list->items[list->count] = item;
  list->count++;
}

/* "a", "a and b", "a, b and c", "a, b, c and 2 more": layers by name, other nodes with their operator. */
static const char *names(const reap_graph *graph, int count, const int *nodes, char line[LINE]) {
  const int shown = count < SHOWN ? count : SHOWN;
  size_t used = 0;
  line[0] = '\0';
  for (int i = 0; i < shown; i++) {
    const reap_node *node = graph->nodes[nodes[i]];
    const char *before = i == 0 ? "" : i == count - 1 ? " and " : ", ";
    used += (size_t)snprintf(line + used, LINE - used, "%s%.120s", before,
                             node->linear ? node->layer : reap_node_title(node));
  }
  if (count > shown) snprintf(line + used, LINE - used, " and %d more", count - shown);
  return line;
}

static const char *plural(int count) { return count == 1 ? "s" : ""; }

/* What is said of the readers. */
static int readers(const reap_graph *graph, const reap_group *group, const reap_first_few *others, int64_t read,
                   char **out) {
  char consumers[LINE], rest[LINE];
  names(graph, group->n_consumers, group->consumers, consumers);
  if (group->n_producers > 1 || group->n_consumers > 1)
    return reap_format(out, "%s read%s it", consumers, plural(group->n_consumers));
  if (others->count > 0)
    return reap_format(out, "%s reads it together with channels of %s", consumers,
                       names(graph, others->count, others->items, rest));
  return reap_format(out, read > group->channels ? "%s reads it more than once" : "%s reads a part of it", consumers);
}

int reap_coupled_reason(const reap_graph *graph, const reap_group *group, const reap_first_few *ties,
                        const reap_first_few *others, int64_t read, char **reason) {
  char producers[LINE], tied[LINE], *reading = NULL;
  int status = readers(graph, group, others, read, &reading);
  if (status != REAP_OK) return status;
  names(graph, group->n_producers, group->producers, producers);
  names(graph, ties->count, ties->items, tied);
  const bool joined = group->n_producers > 1 && ties->count > 0;
  status = reap_format(reason, "coupled: %s produce%s it%s%s; %s", producers, plural(group->n_producers),
                       joined ? ", tied by " : "", joined ? tied : "", reading);
  reap_free(&reading);
  return status;
}
