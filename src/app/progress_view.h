/* Progress on standard error: a bar on a terminal, lines otherwise, JSON lines for machines; private to src/app. */
#ifndef REAP_APP_PROGRESS_VIEW_H
#define REAP_APP_PROGRESS_VIEW_H

#include "reap/log.h"

typedef enum progress_style { PROGRESS_NONE, PROGRESS_BAR, PROGRESS_LINES, PROGRESS_JSON } progress_style;

typedef struct progress_view {
  progress_style style;
  char phase[32]; /* current phase and label: a new one restarts the clock */
  char label[64];
  double phase_start, last_shown, last_event;
  reap_progress callback; /* to hand to the library */
} progress_view;

/* style: auto, bar, lines, json or none. */
void progress_view_start(progress_view *view, const char *style);

/* Removes a bar from the terminal's line. */
void progress_view_finish(progress_view *view);

#endif
