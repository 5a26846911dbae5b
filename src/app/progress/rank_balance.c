#include "rank_balance.h"

#include <string.h>

#include "reap/error.h"
#include "reap/log.h"
#include "reap/memory.h"

enum { FORWARD, MOMENTS, KINDS };

typedef struct spread {
  double least, most, sum;
  int slowest; /* rank */
} spread;

static void add(double seconds, int rank, spread *s) {
  if (rank == 0 || seconds < s->least) s->least = seconds;
  if (rank == 0 || seconds > s->most) {
    s->most = seconds;
    s->slowest = rank;
  }
  s->sum += seconds;
}

/* seconds[ranks][KINDS] */
static void tell(int ranks, const double *seconds) {
  spread forward = {0}, moments = {0}, both = {0};
  for (int r = 0; r < ranks; r++) {
    const double *own = seconds + r * KINDS;
    add(own[FORWARD], r, &forward);
    add(own[MOMENTS], r, &moments);
    add(own[FORWARD] + own[MOMENTS], r, &both);
  }
  reap_log(REAP_LOG_DEBUG,
           "ranks: forward %.2f to %.2f s, moments %.2f to %.2f s; rank %d took longest, %.0f %% above the mean",
           forward.least, forward.most, moments.least, moments.most, both.slowest,
           both.sum > 0 ? 100 * (both.most * ranks / both.sum - 1) : 0);
}

int rank_balance_log(const reap_comm *comm, const reap_prune_result *result) {
  const int ranks = reap_comm_size(comm);
  double *seconds = NULL;
  REAP_TRY(reap_comm_alloc(comm, &seconds, (int64_t)ranks * KINDS, sizeof *seconds));
  memset(seconds, 0, (size_t)ranks * KINDS * sizeof *seconds);
  seconds[reap_comm_rank(comm) * KINDS + FORWARD] = result->seconds_forward;
  seconds[reap_comm_rank(comm) * KINDS + MOMENTS] = result->seconds_moments;
  const int status = reap_comm_sum(comm, seconds, (int64_t)ranks * KINDS);
  if (status == REAP_OK) tell(ranks, seconds);
  reap_free(&seconds);
  return status;
}
