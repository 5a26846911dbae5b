/* A thread of its own looks a few times in the time allowed; it does not call MPI. */
#include "stall_watch.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "comm/waiting.h"
#include "reap/error.h"

static double limit;
static int own_rank;

static void *watch(void *unused) {
  const double pause = fmin(1, limit / 8);
  const struct timespec nap = {(time_t)pause, (long)(1e9 * (pause - floor(pause)))};
  (void)unused;
  for (;;) {
    double seconds;
    const char *call, *what = reap_comm_waiting(&call, &seconds);
    if (what && seconds > limit) {
      if (own_rank <= 1)
        fprintf(stderr,
                "reap: rank %d has waited %.0f s for %s (%s): another rank or a file system hangs, or a link is gone; "
                "the run ends\n",
                own_rank, seconds, what, call);
      _exit(REAP_ERR_STALLED);
    }
    nanosleep(&nap, NULL);
  }
  return NULL;
}

/* Signals are for the program's own thread. */
int stall_watch_start(int64_t seconds, int rank) {
  pthread_t thread;
  sigset_t all, before;
  if (seconds == 0) return REAP_OK;
  limit = (double)seconds;
  own_rank = rank;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int failed = pthread_create(&thread, NULL, watch, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (failed) return reap_error(REAP_ERR_RESOURCE, "a thread that watches the run cannot be started");
  pthread_detach(thread);
  return REAP_OK;
}
