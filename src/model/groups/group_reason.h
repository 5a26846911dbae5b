/* Why a group is coupled, in words; private to src/model. */
#ifndef REAP_MODEL_GROUP_REASON_H
#define REAP_MODEL_GROUP_REASON_H

#include "reap/graph.h"
#include "reap/groups.h"

/* The first of some things, nodes or groups, and how many there are. */
enum { REAP_FIRST_FEW = 4 };
typedef struct reap_first_few {
  int count, items[REAP_FIRST_FEW];
} reap_first_few;

void reap_first_few_add(reap_first_few *list, int item);

/* The reason for a group that no layer reads, or several, or that several produce, or whose one consumer reads units of
 * the layers `others` as well or does not read each unit once, but `read` in all. `norm`: a node that takes the units
 * together, or NULL. The caller owns it. */
int reap_coupled_reason(const reap_graph *graph, const reap_group *group, const reap_first_few *others, int64_t read,
                        const reap_node *norm, char **reason);

/* What `norm` does with the units: "normalises", or (a sum, mean or norm that is part of it) "is taken". */
const char *reap_norm_verb(const reap_node *norm);

#endif
