/* What a reap_groups holds; private to src/model/groups. */
#ifndef REAP_MODEL_GROUPS_DATA_H
#define REAP_MODEL_GROUPS_DATA_H

#include "reap/groups.h"

typedef struct reap_label {
  int group, unit; /* -1: of none */
} reap_label;

/* What stands along the axis of a value that holds channels: each label has `repeat` entries, one behind the other. */
typedef struct reap_labels {
  int64_t count, repeat; /* count 0: the value is not followed */
  reap_label *at;        /* [count], owned */
  int axis;
  int cuts; /* number of the last cut that it took part in */
} reap_labels;

struct reap_groups {
  int n_values, count, cuts;
  reap_labels *values;      /* [n_values] */
  reap_group *list;         /* [count] */
  int *consumed, *produced; /* [nodes] group or -1 */
};

#endif
