/* How far a run of several phases has come, and the time to go: arithmetic alone, the clock comes from outside. Local;
 * private to src/app.
 *
 * Phases follow one another; each has the seconds that it is expected to take, on any machine: what counts is how they
 * compare. What the run has taken so far tells how much faster or slower it is than expected.
 */
#ifndef REAP_APP_PROGRESS_MODEL_H
#define REAP_APP_PROGRESS_MODEL_H

#include <stdbool.h>

enum { PROGRESS_PHASES = 24, PROGRESS_NAME = 32 };

typedef struct progress_phase {
  char name[PROGRESS_NAME];
  double expected; /* seconds; 0: no idea */
  double spent;    /* seconds, once it is over */
} progress_phase;

/* Made by progress_model_start(). */
typedef struct progress_model {
  int n, at; /* phases; the one at hand, -1: none yet */
  progress_phase phases[PROGRESS_PHASES];
  double start, begin, event; /* times: of the run, of the phase at hand, of the last report */
  double done;                /* share of the phase at hand */
  double left;                /* seconds to go after the last report; NaN: not known */
  double share;               /* largest that was told */
} progress_model;

typedef struct progress_figures {
  double seconds; /* since the start */
  double share;   /* of the run's time, 0 .. 1; never falls, and is 1 only after progress_model_finish() */
  double left;    /* seconds to go; NaN: not known yet */
} progress_figures;

/* now: seconds of any clock that does not go back. */
void progress_model_start(progress_model *model, double now);

/* A phase that is to come, behind those known so far; or, if a phase to come has this name, its seconds anew. More
 * phases than there is room for are left out. */
void progress_model_expect(progress_model *model, const char *name, double seconds);

/* So much of the phase is done, 0 .. 1. Phases before it are over; those that never began do not count. False, and
 * nothing changes, if no such phase is at hand or to come. */
bool progress_model_report(progress_model *model, const char *name, double done, double now);

/* All is done. */
void progress_model_finish(progress_model *model, double now);

progress_figures progress_model_look(progress_model *model, double now);

#endif
