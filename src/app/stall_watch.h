/* A watch over a run whose ranks may wait for ever, for one that hangs or a link that is gone; private to src/app. */
#ifndef REAP_APP_STALL_WATCH_H
#define REAP_APP_STALL_WATCH_H

#include <stdint.h>

/* Local, once in a process. From now on a process that waits longer than so many seconds in one call, for other ranks
 * or for a file, says so (ranks 0 and 1 do) and ends with status 7, which ends the run: a call that waits cannot be
 * left otherwise. 0: no limit. */
int stall_watch_start(int64_t seconds, int rank);

#endif
