#include "sweep_progress.h"

#include <stdio.h>
#include <string.h>

#include "base/timer.h"

/* Share of a setting's time that pruning takes; the rest is evaluation. Only for the time to go. */
static const double PRUNING = 0.85;

static void show(sweep_progress *p, int64_t done, const char *what) {
  char text[512];
  snprintf(text, sizeof text, "%lld of %lld settings%s%s", (long long)done, (long long)p->total, what ? ": " : "",
           what ? what : "");
  p->last = reap_seconds();
  reap_progress_report(&p->view.callback, "sweep", NULL, (double)done + p->fraction, (double)p->total, text);
}

/* What a run says of itself becomes a share of the whole, that of one setting: how far the other groups are is not
 * known. */
static void inside(void *context, const reap_progress_event *event) {
  sweep_progress *p = context;
  const double share = event->total > 0 ? event->done / event->total : 1;
  const double pause = p->view.style == PROGRESS_BAR ? 0.5 : 10;
  if (strcmp(event->phase, "prune") == 0) p->fraction = PRUNING * share;
  if (strcmp(event->phase, "evaluate") == 0) p->fraction = PRUNING + (1 - PRUNING) * share;
  if (p->fraction > 0 && reap_seconds() - p->last > pause) show(p, reap_counter_add(p->done, 0), NULL);
}

void sweep_progress_start(sweep_progress *p, const reap_comm *all, bool leader, const char *style, reap_counter *done,
                          int64_t total) {
  const bool first = reap_comm_rank(all) == 0;
  const char *other = strcmp(style, "bar") == 0    ? "none"
                      : strcmp(style, "auto") == 0 ? "lines"
                                                   : style; /* one bar to a terminal */
  memset(p, 0, sizeof *p);
  progress_view_start(&p->view, first ? style : leader ? other : "none");
  p->done = done;
  p->total = total;
  p->first = first;
  p->last = reap_seconds();
  p->inside = (reap_progress){first && p->view.style != PROGRESS_NONE ? inside : NULL, p};
}

void sweep_progress_finished(sweep_progress *p, const char *what) {
  p->fraction = 0;
  show(p, reap_counter_add(p->done, 1) + 1, what);
}

void sweep_progress_end(sweep_progress *p) { progress_view_finish(&p->view); }
