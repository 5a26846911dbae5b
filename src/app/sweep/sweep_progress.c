#include "sweep_progress.h"

#include <stdio.h>

#include "app/progress/progress_view.h"
#include "base/timer.h"

static const double PAUSE = 0.2; /* seconds between looks at the shared count */

/* share: of the run at hand; part: its phase; what: a run that is over came to, or NULL. */
static void show(sweep_progress *p, int64_t done, double share, const char *part, const char *what) {
  char item[64];
  const reap_progress *shown = progress_view_progress();
  snprintf(item, sizeof item, "%lld of %lld%s", (long long)done, (long long)p->total, p->shared ? " settings" : "");
  const reap_progress_event event = {p->phase, item, (double)done + share, (double)p->total, what, part};
  p->last = reap_seconds();
  if (shown->report) shown->report(shown->context, &event);
}

static int64_t count(const sweep_progress *p) { return p->shared ? reap_counter_add(p->shared, 0) : p->own; }

/* How far other groups are with theirs is not known. */
static void inside(void *context, const reap_progress_event *e) {
  sweep_progress *p = context;
  const double now = reap_seconds();
  progress_model_report(&p->model, e->phase, e->total > 0 ? e->done / e->total : 1, now);
  if (now - p->last > PAUSE) show(p, count(p), progress_model_look(&p->model, now).share, e->phase, NULL);
}

void sweep_progress_start(sweep_progress *p, const char *phase, bool first, reap_counter *shared, int64_t total) {
  *p = (sweep_progress){.phase = phase, .shared = shared, .total = total};
  p->inside = (reap_progress){first ? inside : NULL, p};
  sweep_progress_begin(p);
}

void sweep_progress_begin(sweep_progress *p) { progress_model_start(&p->model, reap_seconds()); }

void sweep_progress_next(sweep_progress *p, const char *what) {
  p->own++;
  show(p, p->shared ? reap_counter_add(p->shared, 1) + 1 : p->own, 0, NULL, what);
}
