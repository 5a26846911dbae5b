/* Groups as reap inspect shows them; private to src/app/commands. Local. */
#ifndef REAP_APP_COMMANDS_INSPECT_GROUPS_H
#define REAP_APP_COMMANDS_INSPECT_GROUPS_H

#include "app/json/json.h"
#include "reap/graph.h"
#include "reap/groups.h"

/* Share of a cost that is left with one unit of each inner group, and of each group that can be cut. */
typedef struct inspect_share {
  double inner, all;
} inspect_share;

/* What pruning can save. */
typedef struct inspect_reach {
  double *freed; /* [groups] multiply-adds that go if all units of the group but one go, and nothing else */
  inspect_share flops, params;
} inspect_reach;

#define INSPECT_REACH_NONE \
  (inspect_reach) {        \
    NULL, {1, 1}, { 1, 1 } \
  }

int inspect_reach_find(const reap_graph *graph, const reap_groups *groups, inspect_reach *out);
void inspect_reach_clear(inspect_reach *reach);

void inspect_groups_print(const reap_graph *graph, const reap_groups *groups, const inspect_reach *reach);

/* groups and reach. */
void inspect_groups_report(const reap_graph *graph, const reap_groups *groups, const inspect_reach *reach,
                           cJSON *report);

#endif
