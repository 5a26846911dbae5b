/* Methods of choosing channels, behind one table. Local. */
#ifndef REAP_METHOD_H
#define REAP_METHOD_H

#include <stdint.h>

#include "reap/graph.h"
#include "reap/groups.h"
#include "reap/moments.h"
#include "reap/path.h"
#include "reap/solver.h"

/* What a method may look at: one inner group, the consumer's moments with the group's channels still all there. */
typedef struct reap_method_input {
  const reap_graph *graph;
  const reap_group *group;
  const reap_moments *moments;
  const reap_moments_source *source; /* in place of moments where no rank holds them; else NULL */
  int64_t n_kept;                    /* channels to keep, 1 .. group->channels */
  double ridge;
  uint64_t seed;
  const reap_comm *comm; /* NULL: one rank chooses alone; else all choose together, with ScaLAPACK */
} reap_method_input;

typedef struct reap_method {
  const char *name;
  const char *summary; /* one line for --help, with the reference */
  /* Fills kept[n_kept], ascending. May return the elimination's path (owned by the caller), whose weights are the
   * least-squares ones for kept; *path stays NULL otherwise. */
  int (*choose)(const reap_method_input *input, int64_t *kept, reap_path **path);
} reap_method;

/* Entry of that name, or NULL; entries by index, NULL behind the last. */
const reap_method *reap_method_find(const char *name);
const reap_method *reap_method_at(int index);

#endif
