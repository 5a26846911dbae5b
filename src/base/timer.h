/* Wall-clock time. Local. */
#ifndef REAP_BASE_TIMER_H
#define REAP_BASE_TIMER_H

/* Seconds since an arbitrary moment, monotonic. */
double reap_seconds(void);

#endif
