#include "sweep_groups.h"

/* Share of a run that does not become faster with more ranks; only to choose between numbers of groups. */
static const double ALONE = 0.1;

int sweep_groups_choose(int64_t settings, int ranks) {
  int best = 1;
  double least = 0;
  for (int groups = 1; groups <= ranks && groups <= settings; groups++) {
    const double rounds = (double)((settings + groups - 1) / groups), smallest = ranks / groups;
    const double time = rounds * (ALONE + (1 - ALONE) / smallest);
    if (groups > 1 && time > least * (1 + 1e-9)) continue;
    best = groups;
    least = time;
  }
  return best;
}

int sweep_groups_split(const reap_comm *comm, int groups, reap_comm **out) {
  const int ranks = reap_comm_size(comm), rank = reap_comm_rank(comm);
  int mine = 0;
  for (int g = 0; g < groups; g++) {
    int64_t first, last;
    reap_comm_share(ranks, g, groups, &first, &last);
    if (rank >= first && rank < last) mine = g;
  }
  return reap_comm_split(comm, mine, out);
}
